import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { price, tokens } from "@/lib/format";
import type { Model } from "@/lib/wire";
import { cx } from "@/ui/cx";

interface Props {
  models: Model[];
  loading: boolean;
  value: string | null;
  onChange: (key: string) => void;
}

/** From this many models on, one types to find. */
const FILTER_FROM = 8;

/** The models that a session can use, by provider. The demo model says that no LLM stands behind it. */
export function ModelPicker({ models, loading, value, onChange }: Props) {
  const { t } = useTranslation();
  const name = useId();
  const [filter, setFilter] = useState("");
  const wanted = filter.trim().toLowerCase();
  const shown = models.filter((model) =>
    `${model.provider} ${model.name} ${model.id}`.toLowerCase().includes(wanted),
  );

  return (
    <fieldset data-testid="model-picker">
      <legend className="mb-1.5 text-sm font-medium">{t("new.model")}</legend>
      {models.length >= FILTER_FROM && (
        <input
          type="search"
          aria-label={t("new.filterModels")}
          placeholder={t("new.filterModels")}
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
          className="mb-2 h-9 w-full rounded-lg border bg-raised px-3 text-sm"
        />
      )}
      <div className="max-h-56 divide-y overflow-y-auto rounded-xl border bg-raised">
        {shown.map((model) => {
          const key = `${model.provider}/${model.id}`;
          return (
            <label
              key={key}
              className={cx(
                "flex cursor-pointer items-center gap-3 px-3 py-2 text-sm has-focus-visible:outline-2 has-focus-visible:-outline-offset-2 has-focus-visible:outline-focus pointer-coarse:py-3",
                key === value ? "bg-accent-wash" : "hover:bg-sunken/60",
              )}
            >
              <input
                type="radio"
                name={name}
                value={key}
                checked={key === value}
                onChange={() => onChange(key)}
                className="accent-accent outline-none"
              />
              <span className="min-w-0 flex-1">
                <span className="block truncate font-medium">{modelName(model, t("model.demo"))}</span>
                <span className="block truncate text-xs text-faint">{key}</span>
              </span>
              <ModelFacts model={model} />
            </label>
          );
        })}
        {shown.length === 0 && (
          <p className="px-3 py-3 text-sm text-faint">
            {loading ? t("loading") : wanted ? t("new.noModel") : t("new.noModels")}
          </p>
        )}
      </div>
    </fieldset>
  );
}

/** How much fits into a model, and what it costs, where that is known. */
function ModelFacts({ model }: { model: Model }) {
  const { t } = useTranslation();
  if (model.provider === "demo") return null;
  return (
    <span className="shrink-0 text-right text-xs text-faint tabular-nums" data-testid="model-facts">
      {model.contextWindow > 0 && (
        <span className="block" title={t("model.context")}>
          {tokens(model.contextWindow)}
        </span>
      )}
      {model.cost && (
        <span className="block" title={t("model.price")}>
          {price(model.cost)}
        </span>
      )}
    </span>
  );
}

/** The same in one line, with the provider. */
export function modelHint(model: Model): string {
  if (model.provider === "demo") return model.provider;
  const context = model.contextWindow > 0 ? tokens(model.contextWindow) : null;
  return [model.provider, context, model.cost && price(model.cost)].filter(Boolean).join(" · ");
}

export function modelName(model: { provider: string; id: string; name?: string }, demo: string): string {
  if (model.provider === "demo") return model.id === "scripted" ? demo : `${demo} (${model.id})`;
  return model.name || model.id;
}
