// The page works without this file; it only saves reloads. Never insert text as HTML here.
"use strict";

// Switch the theme without a reload. The server reads the cookie, so the next page is rendered in the right theme.
for (const button of document.querySelectorAll("[data-theme-button]")) {
  button.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${root.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  });
}

// Ticked rows: a box for all rows of the page, and a counter.
for (const form of document.querySelectorAll("[data-ticks]")) {
  const all = form.querySelector("[data-tick-all]");
  const boxes = [...form.querySelectorAll("input[name=id]")];
  const told = form.querySelector("[data-ticked]");
  const show = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
    told.textContent = ticked === 0 ? "None ticked" : `${ticked} ticked`;
  };
  if (!all || !boxes.length) continue;
  all.closest("[hidden]")?.removeAttribute("hidden");
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", show);
  show();
}

// Copy a text, if the browser allows it.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const words = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

// Keep the keyboard focus across a reload; the browser keeps the scroll position. If the focused element is gone (such as
// Cancel at the end), move the focus to the start of the content.
const place = "place of the focus";
const named = (one) => JSON.stringify([location.pathname, one.tagName, one.getAttribute("href"), one.textContent.trim()]);
const loadAnew = () => {
  const one = document.activeElement;
  if (one && one !== document.body) sessionStorage.setItem(place, named(one));
  location.reload();
};
const left = sessionStorage.getItem(place);
if (left) {
  sessionStorage.removeItem(place);
  if (JSON.parse(left)[0] === location.pathname) {
    const same = [...document.querySelectorAll("a, button, summary, [tabindex]")].find((one) => named(one) === left);
    (same ?? document.getElementById("content")).focus({ preventScroll: true });
  }
}

// Live progress: update the numbers in place, and reload the page when the operation is finished.
for (const live of document.querySelectorAll("[data-progress]")) {
  const bar = live.querySelector("progress");
  const follow = async () => {
    let pause = 700;
    try {
      const answer = await fetch(live.dataset.progress, { headers: { Accept: "application/json" } });
      if (answer.redirected || !answer.ok) throw new Error(String(answer.status));
      const now = await answer.json();
      if (now.finished) {
        loadAnew();
        return;
      }
      bar.max = Math.max(now.total, 1);
      bar.value = now.done;
      for (const place of live.querySelectorAll("[data-count]")) {
        const text = now.words[place.dataset.count];
        if (text !== undefined && place.textContent !== text) place.textContent = text;
      }
      live.querySelectorAll(".stages li").forEach((step, place) => {
        step.className = now.stage > place + 1 ? "past" : now.stage === place + 1 ? "now" : "";
        if (step.className === "now") step.setAttribute("aria-current", "step");
        else step.removeAttribute("aria-current");
      });
    } catch {
      pause = 3000;
    }
    setTimeout(follow, pause);
  };
  setTimeout(follow, 300);
}

// A job in progress: reload the page when the job changes, and keep the scroll position.
for (const followed of document.querySelectorAll("[data-follow]")) {
  followed.hidden = false;
  const look = async () => {
    let pause = 2000;
    try {
      const answer = await fetch(followed.dataset.follow, { headers: { Accept: "application/json" } });
      if (answer.redirected || !answer.ok) throw new Error(String(answer.status));
      if ((await answer.json()).mark !== followed.dataset.mark) {
        loadAnew();
        return;
      }
    } catch {
      pause = 10000;
    }
    setTimeout(look, pause);
  };
  setTimeout(look, 1000);
}
