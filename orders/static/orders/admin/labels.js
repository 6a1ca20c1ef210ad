// Django's lists of permissions name their icons where assistive technology may not read a name: a role lets it.
"use strict";

window.addEventListener("load", () => {
  for (const icon of document.querySelectorAll(".selector span[aria-label]")) icon.setAttribute("role", "img");
});
