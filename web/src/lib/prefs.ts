/** What a person likes, kept in this browser. */
import { create } from "zustand";
import { persist } from "zustand/middleware";

export type Theme = "system" | "light" | "dark";
export type Language = "en" | "de";

interface Prefs {
  theme: Theme;
  language: Language;
  lastModel: string | null;
  lastAgent: string | null;
  setTheme: (theme: Theme) => void;
  setLanguage: (language: Language) => void;
  setLastModel: (model: string) => void;
  setLastAgent: (agent: string) => void;
}

const preferred: Language = globalThis.navigator?.language?.startsWith("de") ? "de" : "en";

export const usePrefs = create<Prefs>()(
  persist(
    (set) => ({
      theme: "system",
      language: preferred,
      lastModel: null,
      lastAgent: null,
      setTheme: (theme) => set({ theme }),
      setLanguage: (language) => set({ language }),
      setLastModel: (lastModel) => set({ lastModel }),
      setLastAgent: (lastAgent) => set({ lastAgent }),
    }),
    { name: "octo.prefs" },
  ),
);

/** Puts the theme on the page, now and whenever it changes. `public/theme.js` does it before the first paint. */
export function followTheme(): void {
  const apply = (theme: Theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  apply(usePrefs.getState().theme);
  usePrefs.subscribe((prefs) => apply(prefs.theme));
}
