/** Questions of the agent, and permissions it asks for. The first answer of any client counts. */
import { Repeat2, ShieldQuestion } from "lucide-react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Feed } from "@/lib/session/feed";
import type { InputRequest, PermissionOption } from "@/lib/wire";
import { Button } from "@/ui/Button";
import { inputStyle } from "@/ui/Field";
import { Menu, MenuItem } from "@/ui/Menu";
import { sayError } from "../shell/ui-state";
import { PermissionDetails } from "./PermissionDetails";

type Answer = { value?: string; confirmed?: boolean; cancelled?: boolean; option_id?: string };

export function Requests({ feed, requests }: { feed: Feed; requests: InputRequest[] }) {
  return (
    <div aria-live="assertive">
      {requests.map((request) => (
        <Request
          key={request.request_id}
          request={request}
          onAnswer={(answer) => feed.command("input_response", { request_id: request.request_id, ...answer })}
        />
      ))}
    </div>
  );
}

function Request({
  request,
  onAnswer,
}: {
  request: InputRequest;
  onAnswer: (answer: Answer) => Promise<unknown>;
}) {
  const { t } = useTranslation();
  const [busy, setBusy] = useState(false);
  const answer = (value: Answer) => {
    setBusy(true);
    onAnswer(value).catch((error: unknown) => {
      setBusy(false);
      sayError(error);
    });
  };
  return (
    <section
      aria-label={request.title}
      data-testid="request"
      data-request={request.type}
      className="rise mb-2 max-h-[52dvh] overflow-y-auto rounded-2xl border border-warn/50 bg-raised p-4 shadow-lg shadow-(color:--shadow)"
    >
      <h2 className="flex items-center gap-2 font-semibold">
        <ShieldQuestion size={17} className="shrink-0 text-warn" />
        <span className="[overflow-wrap:anywhere]">{request.title}</span>
      </h2>
      <fieldset disabled={busy} className="mt-2 min-w-0">
        {request.type === "permission" && <Permission request={request} answer={answer} />}
        {request.type === "confirm" && (
          <>
            {request.message && <p className="text-soft whitespace-pre-wrap">{request.message}</p>}
            <Buttons>
              <Button tone="quiet" onClick={() => answer({ confirmed: false })}>
                {t("request.no")}
              </Button>
              <Button tone="primary" onClick={() => answer({ confirmed: true })}>
                {t("request.yes")}
              </Button>
            </Buttons>
          </>
        )}
        {request.type === "select" && (
          <>
            <ul className="grid gap-1.5">
              {request.options.map((option) => (
                <li key={option}>
                  <Button
                    className="h-auto min-h-9 w-full justify-start py-1.5 text-left whitespace-normal"
                    onClick={() => answer({ value: option })}
                  >
                    {option}
                  </Button>
                </li>
              ))}
            </ul>
            <Buttons>
              <Button tone="quiet" onClick={() => answer({ cancelled: true })}>
                {t("cancel")}
              </Button>
            </Buttons>
          </>
        )}
        {(request.type === "input" || request.type === "editor") && (
          <TextAnswer request={request} answer={answer} />
        )}
      </fieldset>
    </section>
  );
}

function Permission({
  request,
  answer,
}: {
  request: Extract<InputRequest, { type: "permission" }>;
  answer: (answer: Answer) => void;
}) {
  const { t } = useTranslation();
  return (
    <>
      {request.description && <p className="text-soft whitespace-pre-wrap">{request.description}</p>}
      <PermissionDetails metadata={request.metadata} />
      <Buttons>
        {request.options?.length ? (
          <Options request={request} options={request.options} answer={answer} />
        ) : (
          <>
            <Button tone="quiet" onClick={() => answer({ confirmed: false })}>
              {t("request.deny_once")}
            </Button>
            <Button tone="primary" onClick={() => answer({ confirmed: true })}>
              {t("request.allow_once")}
            </Button>
          </>
        )}
      </Buttons>
    </>
  );
}

/** What octo itself offers, by id; it is said in the language of the page. */
const OWN = ["allow_once", "allow_this", "allow_hour", "allow_tool", "deny_once", "deny_tool"] as const;
/** So many answers stand side by side; of more, those that are remembered are in a menu. */
const INLINE = 3;

function Options({
  request,
  options,
  answer,
}: {
  request: Extract<InputRequest, { type: "permission" }>;
  options: PermissionOption[];
  answer: (answer: Answer) => void;
}) {
  const { t } = useTranslation();
  const tool = (request.metadata as { tool?: unknown } | undefined)?.tool;
  const label = (option: PermissionOption) => {
    const own = OWN.find((id) => id === option.option_id);
    if (own && typeof tool === "string") return t(`request.option.${own}`, { tool });
    return option.label || t(`request.${option.kind}`);
  };
  const choose = (option: PermissionOption) =>
    answer({ option_id: option.option_id, confirmed: option.kind.startsWith("allow") });
  const kept = (option: PermissionOption) => option.kind === "allow_always" || option.kind === "deny_always";
  const inMenu = options.length > INLINE ? options.filter(kept) : [];
  const beside = options.filter((option) => !inMenu.includes(option));
  const order = ["deny_always", "deny_once", "allow_always", "allow_once"];
  return (
    <>
      {inMenu.length > 0 && (
        <Menu
          align="start"
          side="top"
          trigger={
            <Button tone="quiet" className="mr-auto" data-testid="remember">
              <Repeat2 size={15} />
              {t("request.remember")}
            </Button>
          }
        >
          {inMenu.map((option) => (
            <MenuItem
              key={option.option_id}
              danger={option.kind === "deny_always"}
              onSelect={() => choose(option)}
            >
              {label(option)}
            </MenuItem>
          ))}
        </Menu>
      )}
      {beside
        .toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
        .map((option) => (
          <Button
            key={option.option_id}
            tone={
              option.kind === "allow_once" ? "primary" : option.kind === "allow_always" ? "plain" : "quiet"
            }
            onClick={() => choose(option)}
          >
            {label(option)}
          </Button>
        ))}
    </>
  );
}

function TextAnswer({
  request,
  answer,
}: {
  request: Extract<InputRequest, { type: "input" | "editor" }>;
  answer: (answer: Answer) => void;
}) {
  const { t } = useTranslation();
  const long = request.type === "editor";
  const [value, setValue] = useState(long ? (request.prefill ?? "") : "");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    answer({ value });
  };
  return (
    <form onSubmit={submit}>
      {long ? (
        <textarea
          aria-label={request.title}
          rows={8}
          value={value}
          onChange={(event) => setValue(event.target.value)}
          onKeyDown={(event) =>
            event.key === "Enter" && (event.ctrlKey || event.metaKey) && answer({ value })
          }
          className="w-full rounded-lg border border-line-strong bg-surface p-3 font-mono text-sm"
        />
      ) : (
        <input
          aria-label={request.title}
          placeholder={request.placeholder}
          value={value}
          onChange={(event) => setValue(event.target.value)}
          className={inputStyle}
        />
      )}
      <Buttons>
        <Button tone="quiet" onClick={() => answer({ cancelled: true })}>
          {t("cancel")}
        </Button>
        <Button tone="primary" type="submit">
          {t("request.send")}
        </Button>
      </Buttons>
    </form>
  );
}

/** In sight however long the question is. */
function Buttons({ children }: { children: React.ReactNode }) {
  return (
    <div className="sticky -bottom-4 -mx-4 -mb-4 mt-1 flex flex-wrap justify-end gap-2 bg-raised px-4 pt-2 pb-4">
      {children}
    </div>
  );
}
