import { useTranslation } from "react-i18next";
import { parseUnified } from "@/lib/diff";
import { clock } from "@/lib/format";
import { cx } from "@/ui/cx";

/** Shown at most, so that a question stays readable. */
const MAX_DETAIL = 8_000;

/** What permission is asked for, in a form one can decide on: command, path, diff, and the rest as JSON. */
export function PermissionDetails({ metadata }: { metadata: unknown }) {
  const { t, i18n } = useTranslation();
  if (metadata === null || typeof metadata !== "object") return null;
  const { command, path, url, diff, tool, input, ...more } = metadata as Record<string, unknown>;
  const { tool_call_id: _call, expires_at, on_timeout, truncated, ...rest } = more;
  const shown = input === undefined ? rest : { ...rest, ...(isRecord(input) ? input : { input }) };
  const others = Object.keys(shown).length > 0 ? JSON.stringify(shown, null, 2) : null;
  return (
    <dl className="mt-2 grid gap-2 text-sm">
      {typeof tool === "string" && <Entry label={t("request.tool")}>{tool}</Entry>}
      {typeof path === "string" && <Entry label={t("request.path")}>{path}</Entry>}
      {typeof url === "string" && <Entry label={t("request.url")}>{url}</Entry>}
      {typeof command === "string" && <Entry label={t("request.command")}>{command}</Entry>}
      {typeof diff === "string" && (
        <Entry label={t("request.diff")}>
          {parseUnified(diff.slice(0, MAX_DETAIL)).map((line, n) => (
            <span
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other identity.
              key={n}
              className={cx("block", line.kind === "add" && "text-good", line.kind === "del" && "text-bad")}
            >
              {line.kind === "add" ? "+ " : line.kind === "del" ? "− " : "  "}
              {line.text}
            </span>
          ))}
        </Entry>
      )}
      {truncated === true && <p className="text-warn">{t("request.truncated")}</p>}
      {others && others !== "{}" && <Entry label={t("request.details")}>{others.slice(0, MAX_DETAIL)}</Entry>}
      {typeof expires_at === "number" && (
        <p className="text-xs text-faint" data-testid="expires">
          {t(on_timeout === "allow" ? "request.expiresAllow" : "request.expiresDeny", {
            at: clock(expires_at, i18n.language),
          })}
        </p>
      )}
    </dl>
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function Entry({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <div>
      <dt className="mb-0.5 text-xs text-faint">{label}</dt>
      <dd className="rounded-lg bg-sunken px-3 py-2 font-mono text-[12.5px] whitespace-pre-wrap [overflow-wrap:anywhere]">
        {children}
      </dd>
    </div>
  );
}
