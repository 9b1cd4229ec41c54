"use strict";

const short = (value) => {
  const [divisor, prefix] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => Math.abs(value) >= size) ?? [1, ""];
  return String(Number((value / divisor).toPrecision(3))) + prefix;
};

// Navigation: one link for each section that the page has.
for (const heading of document.querySelectorAll("section[id] > h2")) {
  const link = document.createElement("a");
  link.href = "#" + heading.parentElement.id;
  link.textContent = heading.textContent;
  document.querySelector("nav").append(link);
}

// Light or dark: the system's choice until the button is pressed.
const theme = document.getElementById("theme");
theme.hidden = false;
theme.onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};

// Charts: one cursor over all of them, each reading out its own values.
const charts = [...document.querySelectorAll(".chart")].map((figure) => ({
  figure,
  end: Number(figure.dataset.end) || 1,
  series: JSON.parse(figure.dataset.series),
  plot: figure.querySelector(".plot"),
  cursor: figure.querySelector(".cursor"),
  readout: figure.querySelector(".readout"),
}));

const nearest = (points, nimg) =>
  points.reduce((best, point) => (Math.abs(point[0] - nimg) < Math.abs(best[0] - nimg) ? point : best));

function read(chart, nimg) {
  chart.figure.classList.toggle("reading", nimg !== null);
  chart.cursor.hidden = nimg === null;
  if (nimg === null) return void (chart.readout.textContent = "");
  chart.cursor.style.left = (100 * nimg) / chart.end + "%";
  const drawn = chart.series.filter((series) => series.points.length);
  const values = drawn.map(({ name, points }) => {
    const [, value, low, high] = nearest(points, nimg);
    const interval = low === undefined ? "" : ` (${short(low)} to ${short(high)})`;
    return (drawn.length > 1 ? name + " " : "") + short(value) + interval;
  });
  chart.readout.textContent = [short(nimg) + " images", ...values].join(" · ");
}

const readAll = (nimg) => charts.forEach((chart) => read(chart, nimg));

for (const chart of charts) {
  let now = chart.end;
  const move = (nimg) => readAll((now = Math.min(chart.end, Math.max(0, nimg))));
  chart.plot.onpointermove = (event) => {
    const box = chart.plot.getBoundingClientRect();
    move((chart.end * (event.clientX - box.left)) / box.width);
  };
  chart.plot.onpointerleave = () => readAll(null);
  chart.figure.onblur = () => readAll(null);
  chart.figure.onkeydown = (event) => {
    const step = { ArrowLeft: -0.01, ArrowRight: 0.01, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    move(now + step * chart.end);
  };
}

// Samples through time: a slider, its arrow keys, and a button that plays.
for (const figure of document.querySelectorAll(".time")) {
  const frames = [...figure.querySelectorAll(".frame")];
  const controls = figure.querySelector(".controls");
  if (!controls) continue;
  const [button, slider] = [controls.querySelector("button"), controls.querySelector("input")];
  const moment = figure.querySelector(".moment");
  let timer = null;

  const show = (index) => {
    slider.value = index;
    frames.forEach((frame, other) => frame.classList.toggle("now", other === index));
    moment.textContent = frames[index].dataset.moment;
    slider.setAttribute("aria-valuetext", moment.textContent);
  };
  const pause = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const next = () => {
    const index = Number(slider.value) + 1;
    if (index < frames.length) show(index);
    if (index >= frames.length - 1) pause();
  };

  controls.hidden = false;
  figure.classList.add("played");
  show(frames.length - 1);
  slider.oninput = () => {
    pause();
    show(Number(slider.value));
    readAll(Number(frames[slider.value].dataset.nimg));
  };
  slider.onblur = () => readAll(null);
  button.onclick = () => {
    if (timer) return pause();
    if (Number(slider.value) === frames.length - 1) show(0);
    button.textContent = "Pause";
    timer = setInterval(next, 220);
  };
}
