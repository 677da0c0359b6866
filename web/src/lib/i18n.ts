import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import { de } from "../locales/de";
import { en } from "../locales/en";
import { usePrefs } from "./prefs";

/** English and German, both complete; texts are shown as text, so nothing needs escaping. */
export function startI18n(): void {
  void i18next.use(initReactI18next).init({
    resources: { en: { translation: en }, de: { translation: de } },
    lng: usePrefs.getState().language,
    fallbackLng: "en",
    interpolation: { escapeValue: false },
  });
  const apply = (language: string) => {
    document.documentElement.lang = language;
    if (i18next.language !== language) void i18next.changeLanguage(language);
  };
  apply(usePrefs.getState().language);
  usePrefs.subscribe((prefs) => apply(prefs.language));
}
