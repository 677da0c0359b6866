// Applies the chosen theme before the first paint. A file of its own, so that no inline script is needed.
try {
  const stored = JSON.parse(localStorage.getItem("octo.prefs") || "{}");
  const theme = stored.state?.theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be closed to us; the system's theme is then right.
}
