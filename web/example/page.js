// The modal: shown when the form has come, emptied when it is closed or sent.
const modal = document.getElementById("modal");

modal.addEventListener("htmx:afterSwap", () => modal.showModal());
modal.addEventListener("close", () => modal.replaceChildren());
modal.addEventListener("click", ({ target }) => target.closest("[data-close]") && modal.close());
modal.addEventListener("change", ({ target }) => {
  if (target.id !== "inference") return;
  modal.querySelector("task-type-preview").setAttribute("inference", target.value);
});
modal.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.successful && detail.requestConfig.verb === "post") modal.close();
});
