// A question that has to be answered before anything else is done.

import { make } from "./dom.js";

// Resolves to true for `yes`; Escape is a no.  The no has the focus: an Enter too many must agree to nothing.
export function agreed({ title, text, yes, no }) {
  const refuse = make("button", { type: "button", class: "quiet", autofocus: true }, no);
  const agree = make("button", { type: "button" }, yes);
  const dialog = make("dialog", { class: "question", "aria-labelledby": "question-title", "aria-describedby": "question-text" },
    make("h2", { id: "question-title" }, title), make("p", { id: "question-text" }, text),
    make("div", { class: "buttons" }, refuse, agree));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    refuse.addEventListener("click", () => dialog.close());
    agree.addEventListener("click", () => dialog.close("yes"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
  });
}
