// Keeps a page as it would be if it were loaded again: each transition asks for the page and replaces what changed.
"use strict";
(() => {
  const { root, source, session, now } = document.body.dataset;
  let seen = document.body.dataset.seq; // the page tells of everything up to this row of the log
  const banner = document.getElementById("lost");
  const skew = Date.now() - Number(now);
  const PAUSE = 1000; // between two loads
  const EVERY = 30000; // time passes without events too
  let loading = false, wanted = false, last = 0, lostAt = null, stream = null;

  const age = (ms) => {
    let left = Math.max(0, Math.floor(ms / 1000));
    const parts = [];
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count || (unit === "s" && !parts.length)) parts.push(count + unit);
    }
    return parts.slice(0, 2).join(" ");
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-since]")) {
      time.textContent = age(Date.now() - skew - Number(time.dataset.since));
    }
  };

  // What has the focus keeps it, though it is another element now.
  const focused = () => {
    const own = document.activeElement;
    if (!own || own === document.body) return null;
    if (own.id) return () => document.getElementById(own.id)?.focus({ preventScroll: true });
    const href = own.getAttribute("href");
    const label = own.getAttribute("aria-label");
    return () => {
      const find = (name, value) => [...document.querySelectorAll(`[${name}]`)].find((e) => e.getAttribute(name) === value);
      (href ? find("href", href) : label ? find("aria-label", label) : null)?.focus({ preventScroll: true });
    };
  };
  const replace = (fresh) => {
    wawp.localize(fresh);
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!old) return location.reload();
      if (old.querySelector("[data-qr]") && part.querySelector("[data-qr]")) continue; // showCode sees to it
      const had = old.querySelector(".heat[data-stamp]"), has = part.querySelector(".heat[data-stamp]");
      if (had && has && has.dataset.stamp && had.dataset.stamp === has.dataset.stamp) has.replaceWith(had.cloneNode(true));
      if (old.innerHTML === part.innerHTML && old.className === part.className) continue;
      for (const fold of old.querySelectorAll("details[id][open]")) part.querySelector(`#${fold.id}`)?.setAttribute("open", "");
      const refocus = old.contains(document.activeElement) ? focused() : null;
      old.className = part.className;
      old.innerHTML = part.innerHTML;
      if (refocus) refocus();
    }
    if (document.querySelectorAll("[data-live]").length !== fresh.querySelectorAll("[data-live]").length) location.reload();
    wawp.prepare(document);
    document.title = fresh.title;
    tick();
  };
  const load = async () => {
    if (loading) { wanted = true; return; }
    loading = true;
    wanted = false;
    try {
      const stamp = document.querySelector(".heat[data-stamp]")?.dataset.stamp ?? "";
      const answer = await fetch(location.href, { headers: { "X-Wawp-Live": stamp }, cache: "no-store" });
      if (answer.ok || answer.status === 404) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the stream says that the service is gone */ } finally {
      last = Date.now();
      loading = false;
      if (wanted || document.querySelector("[data-pending]")) soon(); // the history of a large fleet takes a moment
    }
  };
  let timer = null;
  const soon = () => {
    if (timer) return;
    timer = setTimeout(() => { timer = null; load(); }, Math.max(0, last + PAUSE - Date.now()));
  };

  let fetching = false, shown = null;
  const showCode = async () => {
    const image = document.querySelector("img[data-qr]");
    if (!image || fetching || document.hidden) return;
    fetching = true;
    const note = document.getElementById("qr-note");
    try {
      const answer = await fetch(image.dataset.qr, { cache: "no-store" });
      if (!image.isConnected) return;
      if (answer.ok) {
        const old = shown;
        shown = URL.createObjectURL(await answer.blob());
        image.src = shown;
        if (old) URL.revokeObjectURL(old);
        note.textContent = "";
      } else {
        const told = answer.status === 409 ? "the session does not wait for a scan any more" : (await answer.json()).error;
        note.textContent = told;
      }
    } catch { note.textContent = "no answer, trying again…"; } finally {
      fetching = false;
    }
  };

  const lose = () => {
    if (lostAt) return;
    lostAt = new Date();
    banner.textContent = `Live updates lost since ${lostAt.toLocaleTimeString()}. What you see is from then; reconnecting…`;
    banner.hidden = false;
    document.body.classList.add("stale");
  };
  const find = () => {
    if (lostAt) load();
    lostAt = null;
    banner.hidden = true;
    banner.textContent = "";
    document.body.classList.remove("stale");
  };
  const mine = (event) => {
    seen = event.lastEventId || seen;
    if (session === undefined) return soon();
    const told = JSON.parse(event.data);
    if (told.source === source && told.session === session) soon();
  };
  const listen = () => {
    stream = new EventSource(`${root}/api/v1/events?last_event_id=${seen}`);
    stream.onopen = find;
    stream.addEventListener("transition", mine);
    stream.addEventListener("deleted", mine);
    stream.addEventListener("problems", mine);
    stream.addEventListener("outage", soon);
    stream.addEventListener("reset", soon);
    stream.onerror = () => {
      lose();
      // Refused, not cut: the browser does not try again by itself.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
  };
  if (document.querySelector("[data-pending]")) soon();
  setInterval(tick, 1000);
  setInterval(showCode, 3000);
  showCode();
  setInterval(soon, EVERY);
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); soon(); } });
  listen();
})();
