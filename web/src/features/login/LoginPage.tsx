import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Navigate, useNavigate, useSearch } from "@tanstack/react-router";
import { Eye, EyeOff } from "lucide-react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/lib/api";
import { login, meQuery } from "@/lib/auth";
import { claim } from "@/lib/client";
import { Button, IconButton } from "@/ui/Button";
import { Field } from "@/ui/Field";
import { Mark, Wordmark } from "@/ui/Logo";

export function LoginPage() {
  const { t } = useTranslation();
  const { next } = useSearch({ from: "/login" });
  const navigate = useNavigate();
  const client = useQueryClient();
  const { data: me } = useQuery(meQuery);
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);

  if (me) return <Navigate to={next ?? "/"} replace />;

  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await login(username.trim(), password);
      const user = await client.fetchQuery({ ...meQuery, staleTime: 0 });
      if (user) claim(user.id);
      await navigate({ to: next ?? "/", replace: true });
    } catch (failure) {
      setError(sentence(failure));
      setPassword("");
    } finally {
      setBusy(false);
    }
  }

  function sentence(failure: unknown): string {
    if (!(failure instanceof ApiError)) return t("login.failed");
    if (failure.status === 401) return t("login.wrong");
    if (failure.status === 429) return t("login.tooMany");
    if (failure.status === 0) return t("login.unreachable");
    return failure.message;
  }

  return (
    <main className="grid h-full place-items-center overflow-y-auto bg-ground px-5 py-10">
      <form onSubmit={submit} className="w-full max-w-88" data-testid="login-form">
        <div className="mb-8 flex items-center gap-3">
          <Mark size={40} />
          <Wordmark height={26} />
        </div>
        <h1 className="text-2xl font-semibold tracking-tight">{t("login.title")}</h1>
        <p className="mt-1 mb-6 text-soft">{t("login.lead")}</p>
        <Field
          label={t("login.username")}
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          value={username}
          onChange={(event) => setUsername(event.target.value)}
        />
        <div className="relative mt-4">
          <Field
            label={t("login.password")}
            name="password"
            type={shown ? "text" : "password"}
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
          <IconButton
            label={shown ? t("login.hide") : t("login.show")}
            className="absolute top-8 right-1 pointer-coarse:top-7.5"
            onClick={() => setShown(!shown)}
          >
            {shown ? <EyeOff size={16} /> : <Eye size={16} />}
          </IconButton>
        </div>
        <div role="alert" className="min-h-6 pt-3 text-sm text-bad" data-testid="login-error">
          {error}
        </div>
        <Button type="submit" tone="primary" disabled={busy} className="mt-2 h-11 w-full text-base">
          {busy ? t("login.busy") : t("login.submit")}
        </Button>
        <p className="mt-6 text-sm text-faint">{t("login.first")}</p>
      </form>
    </main>
  );
}
