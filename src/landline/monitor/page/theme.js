// Before the first paint: the theme that was chosen here last; without a choice the system's.
try {
  const chosen = localStorage.getItem("landline.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Some browsers are told to keep nothing: then no choice was kept.
}
