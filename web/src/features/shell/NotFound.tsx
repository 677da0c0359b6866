import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Mark } from "@/ui/Logo";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <main className="grid h-full place-items-center p-6 text-center">
      <div>
        <Mark size={44} className="mx-auto mb-4" />
        <h1 className="mb-2 text-xl font-semibold">{t("notFound.title")}</h1>
        <Link to="/" className="text-info underline underline-offset-2">
          {t("notFound.home")}
        </Link>
      </div>
    </main>
  );
}
