import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import type { FeedView } from "@/lib/session/feed";
import { modelsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import { modelName } from "../sessions/ModelPicker";

/** The session's model, by the name that people know it by. */
export function useModel({ session }: FeedView) {
  const { t } = useTranslation();
  const open = useMuxStatus() === "open";
  const { data: models } = useQuery({ ...modelsQuery(mux, session.cwd ?? undefined), enabled: open });
  const current = models?.find((m) => m.id === session.model?.id && m.provider === session.model.provider);
  const name = session.model ? modelName(current ?? session.model, t("model.demo")) : t("model.none");
  return { models, current, name };
}
