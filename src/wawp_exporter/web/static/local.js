// Shows times in the reader's own zone; without a script they are in the configured one.
"use strict";
window.wawp = (() => {
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (number) => String(number).padStart(2, "0");
  const clock = (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  const day = (moment) => `${two(moment.getDate())} ${MONTHS[moment.getMonth()]}`;
  const full = (moment) =>
    `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${clock(moment)}:${two(moment.getSeconds())}`;
  const short = (moment) =>
    moment.toDateString() === new Date().toDateString() ? clock(moment) : `${day(moment)} ${clock(moment)}`;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[data-at]")) {
      const moment = new Date(Number(time.dataset.at));
      time.textContent = (time.dataset.form === "full" ? full : short)(moment);
      if (time.title) time.title = `${full(moment)} ${zone}`;
    }
    for (const time of root.querySelectorAll("time[data-since]")) {
      time.title = `${full(new Date(Number(time.dataset.since)))} ${zone}`;
    }
    for (const name of root.querySelectorAll("[data-zone]")) name.textContent = zone;
  };
  localize(document);
  return { localize, clock, day, short };
})();
