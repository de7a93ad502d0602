// Lets a heatmap speak: what is under the mouse, the finger or the cursor keys, and where it leads.
"use strict";
(() => {
  const BOX = /M(\d+) (\d+)h(\d+)v(\d+)H\d+z/g;
  const DAYS = [1, 6, 11, 16, 21, 26]; // of a month, as in pages/axis.py
  const HOURS = { "1h": 1 / 6, "24h": 3, "7d": 24, "30d": 24 };
  const places = new WeakMap(); // where the cursor of a heatmap is
  const { root } = document.body.dataset;

  const sizeOf = (heat) => heat.querySelector("svg").viewBox.baseVal;
  const boxesOf = (heat) => {
    const boxes = [];
    for (const path of heat.querySelectorAll("path[data-status]")) {
      for (const [, x, y, w, h] of path.getAttribute("d").matchAll(BOX)) {
        boxes.push({ x: +x, y: +y, w: +w, h: +h, status: path.dataset.status });
      }
    }
    return boxes;
  };
  // The longest stretch of one status around a cell; where nothing is known, the gap.
  const runAt = (heat, x, y) => {
    const line = boxesOf(heat).filter((box) => box.y <= y && y < box.y + box.h);
    const own = line.find((box) => box.x <= x && x < box.x + box.w);
    if (own) return { from: own.x, to: own.x + own.w, status: own.status };
    const from = Math.max(0, ...line.filter((box) => box.x < x).map((box) => box.x + box.w));
    const to = Math.min(sizeOf(heat).width, ...line.filter((box) => box.x > x).map((box) => box.x));
    return { from, to, status: "not known" };
  };
  const sessionLink = ([source, name]) => {
    const begin = `${root}/sessions/${encodeURIComponent(source)}`;
    return name === "." || name === ".." ? `${begin}?session=${name}` : `${begin}/${encodeURIComponent(name)}`;
  };
  const about = (heat, y) => {
    const row = JSON.parse(heat.querySelector("script")?.textContent ?? "[]")[y];
    if (!row) return null;
    const size = Number(heat.dataset.size);
    if (size === 1) return { name: row[1], note: `, uptime ${row[2]}`, link: sessionLink(row), verb: "Open" };
    const query = new URLSearchParams(heat.dataset.zoom);
    query.set("zoom", y * size);
    return { name: `${row[0]} to ${row[1]}`, note: "", link: `?${query}`, verb: "Zoom in to" };
  };

  const element = (heat, kind, name) => {
    const found = heat.querySelector(`.${name}`) ?? document.createElement(kind);
    found.className = name;
    if (!found.isConnected) heat.append(found);
    return found;
  };
  const tell = (heat, x, y) => {
    const size = sizeOf(heat), it = about(heat, y);
    if (!it) return;
    const run = runAt(heat, x, y);
    places.set(heat, { x, y, run, link: it.link });
    const { start, step, now } = heat.dataset;
    const at = (column) => Number(start) + column * Number(step);
    const until = at(run.to) >= Number(now) ? "now" : wawp.short(new Date(at(run.to)));
    const mark = element(heat, "div", "mark"), told = element(heat, "p", "told");
    const part = (value, whole) => `${(100 * value) / whole}%`;
    mark.style.left = part(run.from, size.width);
    mark.style.width = part(run.to - run.from, size.width);
    mark.style.top = part(y, size.height);
    mark.style.height = part(1, size.height);
    told.setAttribute("role", "status");
    const name = document.createElement("bdi"), link = document.createElement("a");
    name.textContent = it.name;
    link.href = it.link;
    link.textContent = `${it.verb} ${it.name}`;
    link.tabIndex = -1; // Enter does the same
    const text = `: ${run.status}, ${wawp.short(new Date(at(run.from)))} to ${until}${it.note} `;
    told.replaceChildren(name, text, link);
    // Beside the mark, on the side where there is room.
    const below = y < size.height / 2, right = x < size.width / 2;
    told.style.top = below ? part(y + 1, size.height) : "auto";
    told.style.bottom = below ? "auto" : part(size.height - y, size.height);
    told.style.left = right ? part(Math.min(run.from, x), size.width) : "auto";
    told.style.right = right ? "auto" : "0";
  };
  const hush = (heat) => {
    heat.querySelector(".mark")?.remove();
    heat.querySelector(".told")?.remove();
    places.delete(heat);
  };
  const cellAt = (heat, event) => {
    const box = heat.querySelector("svg").getBoundingClientRect(), size = sizeOf(heat);
    const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return [within((event.clientX - box.left) / box.width, size.width), within((event.clientY - box.top) / box.height, size.height)];
  };
  const heatOf = (event) => (event.target.closest(".told") ? null : event.target.closest(".heat"));

  let heard = null; // the last heatmap that the mouse was in
  document.addEventListener("pointermove", (event) => {
    const heat = event.target.closest(".heat");
    if (heard && heard !== heat && heard !== document.activeElement) hush(heard);
    heard = heat;
    if (event.pointerType === "mouse" && heatOf(event)) tell(heat, ...cellAt(heat, event));
  });
  document.addEventListener("click", (event) => {
    const heat = heatOf(event);
    if (!heat) return;
    tell(heat, ...cellAt(heat, event));
    if (event.pointerType === "mouse") location.href = places.get(heat)?.link ?? location.href;
  });
  document.addEventListener("focusin", (event) => {
    const heat = event.target;
    if (heat.matches(".heat") && !places.has(heat) && heat.matches(":focus-visible")) tell(heat, sizeOf(heat).width - 1, 0);
  });
  document.addEventListener("focusout", (event) => {
    const heat = event.target.closest(".heat");
    if (heat && !heat.contains(event.relatedTarget)) hush(heat); // the link in it may have the focus now
  });
  document.addEventListener("keydown", (event) => {
    const heat = event.target, place = places.get(heat);
    if (!heat.matches(".heat") || !place) return;
    const { width, height } = sizeOf(heat), { x, y, run } = place;
    const moves = {
      ArrowLeft: [run.from - 1, y], ArrowRight: [run.to, y], ArrowUp: [x, y - 1], ArrowDown: [x, y + 1],
      Home: [0, y], End: [width - 1, y],
    };
    if (event.key === "Enter") location.href = place.link;
    if (event.key === "Escape") hush(heat);
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [column, line] = moves[event.key];
    tell(heat, Math.min(width - 1, Math.max(0, column)), Math.min(height - 1, Math.max(0, line)));
  });

  // Ticks at round times of the reader's zone, as pages/axis.py has them of the configured one.
  const draw = (axis) => {
    const { start, end, range } = axis.dataset;
    const moment = new Date(Number(start)), ticks = [];
    moment.setHours(0, 0, 0, 0);
    const minutes = HOURS[range] * 60;
    while (moment < Number(end)) {
      const x = (100 * (moment - start)) / (end - start);
      if (x >= 0 && x <= 92 && (range !== "30d" || DAYS.includes(moment.getDate()))) {
        const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
        ticks.push([x, midnight ? wawp.day(moment) : wawp.clock(moment)]);
      }
      if (minutes === 1440) moment.setDate(moment.getDate() + 1);
      else moment.setMinutes(moment.getMinutes() + minutes);
    }
    const make = (name, given, text) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
      if (text) made.textContent = text;
      return made;
    };
    axis.replaceChildren(...ticks.map(([x, words], number) => {
      const group = make("g", number % 2 ? { class: "minor" } : {});
      group.append(make("line", { x1: `${x}%`, x2: `${x}%`, y1: 0, y2: 5 }), make("text", { x: `${x}%`, y: 16 }, words));
      return group;
    }));
  };
  wawp.prepare = (part) => {
    for (const heat of part.querySelectorAll(".heat")) {
      heat.tabIndex = 0;
      heat.setAttribute("role", "group");
      heat.setAttribute("aria-label", "Heatmap: the arrow keys go from status to status and from line to line, Enter opens");
    }
    part.querySelectorAll(".axis").forEach(draw);
  };
  wawp.prepare(document);
})();
