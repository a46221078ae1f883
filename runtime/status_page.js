"use strict";
async function refresh() {
  try {
    const answer = await fetch("/", {cache: "no-store"});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector(".live").replaceWith(page.querySelector(".live"));
    document.title = page.title;
    document.body.classList.remove("offline");
  } catch (error) {
    document.body.classList.add("offline");
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
