// Adds a switch that shows a password, and the like. Everything works without it.
"use strict";
for (const field of document.querySelectorAll("input[data-show]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "show";
  button.textContent = field.dataset.show;
  button.setAttribute("aria-controls", field.id);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? field.dataset.show : field.dataset.hide;
    button.setAttribute("aria-pressed", String(!shown));
    field.focus();
  });
  field.parentElement.append(button);
}
// After a mistake the page stands where it was made.
document.querySelector("[aria-invalid=true]")?.focus();
// A button that copies what stands in a field.
for (const field of document.querySelectorAll("input[data-copy]")) {
  if (!navigator.clipboard) break;
  const row = document.createElement("div");
  row.className = "reveal";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "show";
  button.textContent = field.dataset.copy;
  button.setAttribute("aria-describedby", field.id);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = field.dataset.copied;
  });
  field.replaceWith(row);
  row.append(field, button);
}
// A table can be read from a file instead of being pasted.
for (const area of document.querySelectorAll("textarea[data-file]")) {
  const file = document.createElement("input");
  file.type = "file";
  file.accept = ".csv,text/csv";
  file.setAttribute("aria-label", area.dataset.file);
  file.addEventListener("change", async () => {
    if (file.files.length > 0) area.value = await file.files[0].text();
  });
  area.before(file);
}
// A form is sent once: a second click must not cost a second attempt.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
    }
    form.dataset.sent = "yes";
    // Nothing tells a page that the answer was not waited for (Stop). Whoever still sees the page then may send again.
    setTimeout(again, 15_000);
  });
}
function again() {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
  }
}
window.addEventListener("pageshow", again);
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape") again();
});
