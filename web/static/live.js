// Keeps a page fresh. The server says "look again" (server-sent events); the page then fetches its own inner part and
// changes only what differs, so that focus, scrolling, half-typed words and unfolded details stay. It looks again by itself, too: every
// five seconds, or as seldom as the server says while it is heard. Without this script every page works; it only has to be
// reloaded by hand.
(() => {
  "use strict";
  const address = document.body.dataset.events;
  const main = document.getElementById("main");
  const sign = document.getElementById("live");
  if (!address || !main || !sign) return;

  const OFTEN = 5;
  // A network that goes away without a word ends no request and no stream: whoever waits longer than this waits for nothing. The
  // server lets its stream be heard every ten seconds.
  const PATIENT = 10000, SILENT = 25000;
  let events = null, timer = null, pace = OFTEN, asking = false, again = false;
  // When this page was last known to be fresh, and when the stream was last heard.
  let fresh = Date.now(), heard = Date.now();

  function say(state, words) {
    if (sign.textContent !== words) sign.textContent = words;
    sign.dataset.state = state;
    // What is drawn is old, and looks it.
    main.toggleAttribute("data-lost", state === "lost");
  }

  function lost() {
    const minutes = Math.floor((Date.now() - fresh) / 60000);
    say("lost", `Connection lost: what stands here is ${minutes ? `${minutes} min ` : ""}old. Trying again`);
  }

  async function refresh() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, signal: AbortSignal.timeout(PATIENT) });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      // The strip is no part of what is fetched.
      if (answer.headers.has("X-Drill-Over")) document.getElementById("drill-over")?.removeAttribute("hidden");
      const drawn = document.createElement("main");
      drawn.innerHTML = await answer.text();
      children(main, drawn);
      fresh = Date.now();
      if (main.querySelector("[data-final]")) { rest(); say("done", "Ended"); } else say("live", "Live");
    } catch {
      lost();
    }
    asking = false;
    if (again) { again = false; refresh(); return; }
    clearTimeout(timer);
    if (events) timer = setTimeout(refresh, pace * 1000);
  }

  function watch() {
    if (events || main.querySelector("[data-final]")) return;
    events = new EventSource(address);
    heard = Date.now();
    // That the stream is open does not make the page fresh: its first word does, by having it look again.
    events.addEventListener("changed", (event) => { heard = Date.now(); pace = Number(event.data) || OFTEN; refresh(); });
    events.addEventListener("alive", () => { heard = Date.now(); });
    events.addEventListener("error", () => { pace = OFTEN; refresh(); });
    timer = setTimeout(refresh, pace * 1000);
  }

  // A stream that is not heard is opened anew, and until then the page looks by itself. By the clock on the wall: a timer stands still
  // while a computer sleeps.
  function listen() {
    if (!events || Date.now() - heard < SILENT) return;
    rest();
    pace = OFTEN;
    wake();
  }

  // What was not looked at for long is not called live before it is.
  function wake() {
    if (Date.now() - fresh > SILENT && sign.dataset.state === "live") say("off", "Connecting");
    watch();
    refresh();
  }

  function rest() {
    if (events) events.close();
    clearTimeout(timer);
    events = null;
  }

  // Not `node.id`: in a form that is its field of the name `id`.
  const id = (node) => node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("id") : null;

  // Makes the children of one element those of another, reusing what is there: by id where there is one, else in order. What holds
  // something that people unfold or fill in needs an id: in order, it is another one as soon as something before it comes or goes.
  // A form of another address is never made of the one that stands there: what was typed was not meant for it.
  function children(old, fresh) {
    // What is gone goes first: what stands behind it need not be moved, which would take the focus from it.
    const stays = new Set([...fresh.children].map(id));
    for (const gone of [...old.children]) if (id(gone) && !stays.has(id(gone))) gone.remove();
    const known = new Map([...old.children].filter(id).map((c) => [id(c), c]));
    let here = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const found = id(wanted) ? known.get(id(wanted)) : here && !id(here) ? here : null;
      const match = found && alike(found, wanted) ? found : null;
      if (!match) {
        old.insertBefore(wanted, here);
        if (found) { if (found === here) here = here.nextSibling; found.remove(); }
        continue;
      }
      if (match === here) here = here.nextSibling; else move(old, match, here);
      if (match.nodeType === Node.ELEMENT_NODE) { attributes(match, wanted); children(match, wanted); }
      else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
    }
    while (here) { const gone = here; here = here.nextSibling; gone.remove(); }
  }

  // Where the browser can, with its focus.
  function move(parent, child, before) {
    if (parent.moveBefore) parent.moveBefore(child, before); else parent.insertBefore(child, before);
  }

  function alike(old, fresh) {
    return old.nodeName === fresh.nodeName && (old.nodeName !== "FORM" || old.getAttribute("action") === fresh.getAttribute("action"));
  }

  // What a person has unfolded stays unfolded; what they have folded, until the server itself thinks otherwise.
  const unfolded = new WeakSet();
  function attributes(old, fresh) {
    const kept = old.nodeName === "DETAILS" && (old.dataset.open === fresh.dataset.open || unfolded.has(old));
    const own = (name) => name === "open" && kept;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !own(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }

  // The click comes before what it does.
  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details?.nodeName !== "DETAILS") return;
    if (details.open) unfolded.delete(details); else unfolded.add(details);
  });

  // An address may lead to something folded.
  function reveal() {
    let at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (at = at?.closest("details"); at; at = at.parentElement?.closest("details")) { at.open = true; unfolded.add(at); }
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) rest(); else wake(); });
  // A button is pressed once: the second press of a double click finds it resting.
  document.addEventListener("submit", (event) => { event.submitter?.setAttribute("aria-disabled", "true"); });
  if (main.querySelector("[data-final]")) say("done", "Ended"); else say("off", "Connecting");
  watch();
  setInterval(listen, 1000);
  addEventListener("hashchange", reveal);
  reveal();
})();
