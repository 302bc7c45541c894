// A backup is brought as a stream, however large it is; without scripts the form itself takes small ones.
const form = document.querySelector("[data-bring]");

form?.addEventListener("submit", async (event) => {
  const file = form.querySelector("input[type=file]").files[0];
  if (!file) return;
  event.preventDefault();
  const state = form.querySelector("[data-bring-state]");
  const button = form.querySelector("button");
  button.disabled = true;
  state.textContent = "…";
  try {
    const answer = await fetch("/api/v1/backup-files", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", "X-CSRF-Token": form.elements.csrf.value },
      body: file,
    });
    const told = await answer.json();
    if (answer.ok) {
      location.assign("/settings/backup");
      return;
    }
    state.textContent = `${told.what}: ${told.why}`;
  } catch (error) {
    state.textContent = String(error.message ?? error);
  }
  button.disabled = false;
});
