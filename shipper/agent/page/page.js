// The page at /: asks /page.json each 2 seconds while somebody looks, and shows what it says.
import {
  clock, count, drawSpark, duration, element, percent, rate, row, rows, say, sayWithCode, size, spark, sum,
} from "./page_parts.js";

const AFTER_MS = [2000, 1000, 2000], SLOWEST_MS = 5000;   // by how many answers are missing
const TYPED_MS = 250, ANSWER_MS = 10000, ROWS = 50;
const find = (id) => document.getElementById(id);
const asked = { q: "", source: "", state: "", offset: 0 };
let paused = false, timer = 0, failures = 0, asking = null, answeredAt = null;

// ---------------------------------------------------------------- asking

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort("late"), ANSWER_MS);
  try {
    const answer = await fetch(`/page.json?${new URLSearchParams({ ...asked, limit: ROWS })}`, { cache: "no-store", signal: mine.signal });
    if (!answer.ok) throw new Error(`${answer.status} ${(await answer.text()).trim()}`);
    const data = await answer.json();
    if (mine !== asking) return;
    failures = 0;
    answeredAt = new Date();
    show(data);
  } catch (error) {
    if (mine !== asking) return;
    failures += 1;
    showSilence(String(error?.message ?? "no answer within 10 s"));
  } finally {
    clearTimeout(late);
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(ask, AFTER_MS[failures] ?? SLOWEST_MS);
}

function showSilence(why) {
  if (failures < 2 && answeredAt) return;           // one lost answer is no news
  find("verdict").dataset.level = "bad";
  const since = answeredAt ? ` What stands below is from ${clock(answeredAt)}.` : "";
  say(find("headline"), `The agent does not answer.${since}`);
  const mend = "Look whether it runs: `systemctl status shipper`, or its pod. The page goes on asking.";
  const silence = { about: "silence", what: `${why}.`, mend };
  findings([silence], silence);
  document.title = "The agent does not answer - shipper";
}

// ---------------------------------------------------------------- showing

function show(data) {
  say(find("node"), data.node);
  say(find("about"), `version ${data.version}, up ${duration(data.uptime_s)}, as of ${clock(new Date(data.now_s * 1000))}`);
  verdict(data);
  totals(data);
  rows(find("sinks"), data.sinks, (sink) => sink.name, makeSink, (at, sink) => fillSink(at, sink, data.sample_s));
  rows(find("sources"), data.sources, (source) => source.name, makeSource, (at, source) => fillSource(at, source, data.sample_s));
  files(data.files, data.sources);
}

function verdict(data) {
  const wrong = data.findings.find((each) => each.level !== "note");
  find("verdict").dataset.level = wrong?.level ?? (data.ready ? "good" : "none");
  say(find("headline"), data.headline);
  findings(data.findings, wrong);
  document.title = `${data.headline} ${data.node} - shipper`;
}

/** Each with its title, but the one that the headline names already. */
function findings(found, headlined) {
  rows(find("findings"), found, (each) => each.about, () => {
    const made = element("li");
    made.append(element("b"), element("span"), " ", element("span"));
    return made;
  }, (at, each) => {
    say(at.children[0], each === headlined ? "" : `${each.title}. `);
    sayWithCode(at.children[1], each.what);
    sayWithCode(at.children[2], each.mend);
  });
}

const NO_LAG = 256 * 1024;                             // bytes: a backlog of less is the usual coming and going

function total(id, now, of, past, name, words, stepS, least) {
  const place = find(id);
  if (!place.children.length) place.append(element("b"), " ", element("span", "of"), spark(), element("span", "peak"));
  say(place.children[0], words(now));
  say(place.children[1], of);
  drawSpark(place.children[2], past, name, words, stepS, least);
  const most = Math.max(now ?? 0, ...past);
  say(place.children[3], past.some((each) => each !== null) ? `peak ${words(most)}` : "");
}

function totals(data) {
  const added = (list, key) => (list.some((each) => each[key] !== null) ? list.reduce((all, each) => all + (each[key] ?? 0), 0) : null);
  const records = (list) => (added(list, "records_rate") === null ? "" : `${count(added(list, "records_rate"))} records/s`);
  const { sources, sinks, buffer, sample_s: stepS } = data;
  total("total-read", added(sources, "rate"), records(sources), sum(sources.map((each) => each.past.rate)), "Read", rate, stepS);
  total("total-delivered", added(sinks, "rate"), records(sinks), sum(sinks.map((each) => each.past.rate)), "Delivered by all sinks", rate, stepS);
  const lag = sources.reduce((all, each) => all + each.lag_bytes, 0), late = Math.max(0, ...sources.map((each) => each.lag_s));
  const lags = sum(sources.map((each) => each.past.lag));
  total("total-lag", lag, late ? `late by ${duration(late)}` : "", lags, "Not yet read", size, stepS, NO_LAG);
  const full = buffer.limit_bytes ? `${percent(buffer.bytes, buffer.limit_bytes)} of ${size(buffer.limit_bytes)}` : "";
  const fill = buffer.full ? `FULL: ${full}` : full;
  total("total-buffer", buffer.bytes ?? null, fill, buffer.past, "Buffer", size, stepS, (buffer.limit_bytes ?? 0) / 20);
}

function state(cell, text, level, again = "") {
  if (!cell.children.length) cell.append(element("span", "state"), element("span", "again"));
  say(cell.children[0], text);
  cell.children[0].dataset.level = level;
  say(cell.children[1], again);
}

/** Nothing is shown softly: the eye goes to what is something. */
function quantity(target, text) {
  say(target, text);
  target.classList.toggle("none", /^(-|0 .*)$/.test(text));
}

function figure(cell, now, past, name, words, stepS, more = "") {
  if (!cell.children.length) cell.append(element("span"), spark(), element("span", "more"));
  quantity(cell.children[0], words(now));
  drawSpark(cell.children[1], past, name, words, stepS, words === size ? NO_LAG : undefined);
  say(cell.children[2], more);
}

function makeSink(sink) {
  const made = row(["Sink", "State", "Confirmed", "Backlog", "Oldest", "Last error and guarantee"], ["Last error and guarantee"]);
  made.cells[0].append(element("span"), " ", element("span", "type"));
  const about = element("details"), list = element("dl");
  about.append(element("summary", "", `What ${sink.name} promises`), list);
  made.cells[5].append(element("p", "error"), about);
  return made;
}

const LEVELS = { ok: "good", stopped: "idle", retrying: "bad", refusing: "bad", failed: "bad" };

function fillSink(at, sink, stepS) {
  const cells = at.cells;
  say(cells[0].children[0], sink.name);
  say(cells[0].children[1], sink.type ?? "");
  const again = sink.next_try_s === null ? "" : `again in ${duration(sink.next_try_s)}`;
  state(cells[1], sink.state, LEVELS[sink.state] ?? "warn", again);
  const records = sink.records_rate === null ? "" : `${count(sink.records_rate)} records/s`;
  figure(cells[2], sink.rate, sink.past.rate, `Confirmed by ${sink.name}`, rate, stepS, records);
  figure(cells[3], sink.backlog_bytes, sink.past.backlog, `Backlog of ${sink.name}`, size, stepS);
  quantity(cells[4], sink.backlog_bytes ? duration(sink.oldest_s) : "-");
  sayWithCode(cells[5].children[0], sink.last_error ? (sink.state === "ok" ? `${sink.last_error} (over)` : sink.last_error) : "no error");
  cells[5].children[0].classList.toggle("none", !sink.last_error);
  promise(cells[5].children[1], sink);
}

function promise(about, sink) {
  const words = [["Delivered means", sink.guarantee?.delivered_means], ["Can repeat", sink.guarantee?.can_repeat],
    ["Can lose", sink.guarantee?.can_lose], ["Delivered so far", `${count(sink.delivered_records ?? 0)} records`],
    ["Sent, not yet confirmed", `${count(sink.unconfirmed_records ?? 0)} records`]];
  const list = about.lastChild;
  if (!list.children.length) words.forEach(() => list.append(element("dt"), element("dd")));
  words.forEach(([name, text], at) => {
    say(list.children[2 * at], name);
    say(list.children[2 * at + 1], text ?? "-");
  });
}

const makeSource = () => row(["Source", "State", "Read", "Not yet read", "Late by", "Files"]);
const SOURCE_LEVELS = { quiet: "idle", reading: "good", behind: "warn", held: "bad", failed: "bad", "no files": "idle" };

function fillSource(at, source, stepS) {
  const cells = at.cells;
  say(cells[0], source.name);
  state(cells[1], source.state, SOURCE_LEVELS[source.state] ?? "warn");
  const records = source.records_rate === null ? "" : `${count(source.records_rate)} records/s`;
  figure(cells[2], source.rate, source.past.rate, `Read of ${source.name}`, rate, stepS, records);
  figure(cells[3], source.lag_bytes, source.past.lag, `Not yet read of ${source.name}`, size, stepS);
  quantity(cells[4], source.lag_s ? duration(source.lag_s) : "-");
  say(cells[5], count(source.files));
}

// ---------------------------------------------------------------- files

const makeFile = () => row(["Path", "State", "Not yet read", "Late by", "Size"]);
const FILE_LEVELS = { reading: "good", waiting: "warn", deleted: "warn", failed: "bad" };

function files(found, sources) {
  rows(find("rows"), found.rows, (file) => `${file.key} ${file.path}`, makeFile, fillFile);
  const last = found.offset + found.rows.length, of = found.matched === found.total ? "" : ` that match, of ${count(found.total)}`;
  const range = found.rows.length ? `${count(found.offset + 1)} to ${count(last)} of ` : "";
  say(find("shown"), `${range}${count(found.matched)} files${of}; the most unread first`);
  find("previous").disabled = found.offset === 0;
  find("next").disabled = last >= found.matched;
  if (!found.rows.length && found.offset) turn(-Math.ceil((found.offset - found.matched + 1) / ROWS));
  choices(sources.map((each) => each.name));
}

function fillFile(at, file) {
  const cells = at.cells;
  say(cells[0], file.path);
  state(cells[1], file.state, file.lag_bytes || ["reading", "failed"].includes(file.state) ? FILE_LEVELS[file.state] ?? "idle" : "idle");
  quantity(cells[2], size(file.lag_bytes));
  quantity(cells[3], file.lag_s ? duration(file.lag_s) : "-");
  quantity(cells[4], size(file.size_bytes));
}

function choices(names) {
  const options = find("source");
  if ([...options.options].slice(1).map((each) => each.value).join("\n") === names.join("\n")) return;
  const chosen = options.value;
  options.replaceChildren(options.options[0], ...names.map((name) => new Option(name, name)));
  options.value = names.includes(chosen) ? chosen : "";
}

function turn(pages) {
  asked.offset = Math.max(0, asked.offset + pages * ROWS);
  ask();
}

// ---------------------------------------------------------------- what a person does

function narrow() {
  Object.assign(asked, { q: find("q").value, source: find("source").value, state: find("state").value, offset: 0 });
  clearTimeout(timer);
  timer = setTimeout(ask, TYPED_MS);
}

find("filter").addEventListener("input", narrow);
find("filter").addEventListener("submit", (event) => { event.preventDefault(); narrow(); });
find("previous").addEventListener("click", () => turn(-1));
find("next").addEventListener("click", () => turn(1));
find("pause").addEventListener("click", () => {
  paused = !paused;
  find("pause").setAttribute("aria-pressed", String(paused));
  find("pause").textContent = paused ? "Go on" : "Pause";
  paused ? clearTimeout(timer) : ask();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : paused || ask()));
narrow();                                              // a browser that comes back has kept what was typed
ask();
