// SPDX-License-Identifier: MIT
// Plays the timelines of a race's page.  The address names the step: #wrong-12.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const all = selector => [...document.querySelectorAll(selector)];
const orders = Object.keys(data.orders);
let order = orders[0], at = 1, timer = 0;

function element(name, text, className) {
	const e = document.createElement(name);
	e.textContent = text;
	if (className)
		e.className = className;
	return e;
}

const HOLDERS = { cpu: "CPU's table of ", nested: "nested table of ", device: "table of ",
		  iotlb: "IOTLB, ", "device tlb": "TLB of " };
const holder = t => HOLDERS[t.in] + t.of;
const steps = () => data.orders[order].steps;
const stateAt = n => n === steps().length ? data.orders[order].end : steps()[n - 1].state;
const unique = list => [...new Set(list)];

// Rows and columns are the same at every step of an order.
function translationsOf() {
	return steps().map(s => s.state).concat(data.orders[order].end)
		.flatMap(s => s ? s.translations : []);
}

function cell(now, before, name, page) {
	const find = s => s ? s.translations.filter(t => holder(t) === name && t.page === page) : [];
	const text = s => find(s).map(t => `${t.frame} ${t.rights}`).join(", ") || "–";
	const cpu = now.translations.filter(t => t.in === "cpu" && t.page === page);
	const stale = find(now).some(t => t.in !== "cpu" && !cpu.some(c => c.frame === t.frame));
	const td = element("td", text(now));

	if (stale)
		td.append(" ", element("strong", "stale", "stale"));
	if (before && text(now) !== text(before))
		td.classList.add("changed");
	return td;
}

function showTranslations(now, before) {
	const seen = translationsOf();
	const pages = unique(seen.map(t => t.page)), names = unique(seen.map(holder));
	const head = element("tr", "");

	head.append(element("th", ""), ...pages.map(p => element("th", p)));
	$("translations").replaceChildren(element("caption", "What leads where"), head,
		...names.map(name => {
			const row = element("tr", "");
			row.append(element("th", name), ...pages.map(p => cell(now, before, name, p)));
			return row;
		}));
}

function showFrames(now, before) {
	const head = element("tr", "");

	head.append(...["frame", "use", "references", "holds"].map(t => element("th", t)));
	$("frames").replaceChildren(element("caption", "What frames hold"), head,
		...now.frames.map(f => {
			const old = before && before.frames.find(b => b.frame === f.frame);
			const row = element("tr", "");
			row.append(element("th", f.frame), ...["use", "refs", "holds"].map(key =>
				element("td", f[key], old && old[key] !== f[key] ? "changed" : "")));
			return row;
		}));
}

function showSource(step) {
	const source = data.sources[`${step.file}:${step.line}`];
	const link = element("a", `${step.file}:${step.line}`);

	link.href = source.href;
	$("words").textContent = `${step.lane}: ${step.words}`;
	$("place").replaceChildren(link, ` thread ${step.thread}, CPU ${step.cpu}`);
	$("code").replaceChildren(...source.lines.map(([n, text]) =>
		element("span", `${String(n).padStart(4)} ${text}\n`, n === step.line ? "here" : "")));
}

function showVerdict() {
	const o = data.orders[order], last = at === o.steps.length;

	$("verdict").textContent = last ? `The suite's verdict on ${o.test}: ${o.verdict}. ` +
		`It tests: ${o.claim}.` : "";
	$("verdict").dataset.verdict = last ? o.verdict : "";
}

// Scroll the lanes only if the step is out of view: a picture that moves at each step is hard to follow.
function bringIntoView(text, box) {
	const step = text.getBoundingClientRect(), view = box.getBoundingClientRect();

	if (step.left < view.left || step.right > view.right)
		box.scrollLeft += step.left - view.left - box.clientWidth / 3;
	if (step.top < view.top || step.bottom > view.bottom)
		box.scrollTop += step.top - view.top - box.clientHeight / 2;
}

function show(keepAddress) {
	const n = steps().length, row = $(`${order}-${at}-row`), box = document.querySelector(".lanes");

	all(".orders button").forEach(b => b.setAttribute("aria-pressed", b.dataset.order === order));
	orders.forEach(o => { $(`${o}-figure`).hidden = o !== order; });
	all(".step").forEach(s => {
		const k = Number(s.dataset.step);
		s.classList.toggle("now", s === row);
		s.classList.toggle("later", k > at);
	});
	bringIntoView(row.querySelector(".text"), box);
	showTranslations(stateAt(at), at > 1 && stateAt(at - 1));
	showFrames(stateAt(at), at > 1 && stateAt(at - 1));
	showSource(steps()[at - 1]);
	showVerdict();
	$("position").textContent = `Step ${at} of ${n}`;
	$("permalink").href = `#${order}-${at}`;
	$("player").dataset.order = order;
	$("player").dataset.step = at;
	if (!keepAddress)
		history.replaceState(null, "", `#${order}-${at}`);
}

function stop() {
	clearInterval(timer);
	timer = 0;
	$("play").textContent = "Play";
}

function go(n) {
	at = Math.min(Math.max(n, 1), steps().length);
	show();
	if (at === steps().length)
		stop();
}

function play() {
	if (timer)
		return stop();
	if (at === steps().length)
		go(1);
	$("play").textContent = "Pause";
	timer = setInterval(() => go(at + 1), Number($("speed").value));
}

function choose(name) {
	if (!orders.includes(name))
		return;
	stop();
	order = name;
	go(1);
}

function fromAddress() {
	const found = /^#(wrong|right)-(\d+)$/.exec(location.hash);

	if (found && orders.includes(found[1])) {
		stop();
		order = found[1];
		at = Math.min(Math.max(Number(found[2]), 1), steps().length);
	}
	show(true);
	if (found)
		document.querySelector(".controls").scrollIntoView();
}

const KEYS = { " ": play, ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1),
	       Home: () => go(1), End: () => go(steps().length),
	       w: () => choose("wrong"), r: () => choose("right") };

document.addEventListener("keydown", e => {
	const own = e.target.closest("select, input, summary") ||
		(e.key === " " && e.target.closest("button, a"));

	if (own || e.ctrlKey || e.altKey || e.metaKey || !KEYS[e.key])
		return;
	e.preventDefault();
	if (e.key !== " ")
		stop();
	KEYS[e.key]();
});
$("first").onclick = () => { stop(); go(1); };
$("back").onclick = () => { stop(); go(at - 1); };
$("next").onclick = () => { stop(); go(at + 1); };
$("last").onclick = () => { stop(); go(steps().length); };
$("play").onclick = play;
$("speed").onchange = () => { if (timer) { stop(); play(); } };
all(".orders button").forEach(b => { b.onclick = () => choose(b.dataset.order); });
all(".step").forEach(s => { s.onclick = () => { stop(); go(Number(s.dataset.step)); }; });
window.addEventListener("hashchange", fromAddress);
// The address is the player's: the browser must not scroll to the text's line.
all(".text span").forEach(s => { s.id = `text-${s.id}`; });
all(".controls, .state, .at, .keys").forEach(e => { e.hidden = false; });
document.documentElement.classList.add("js");
fromAddress();
})();
