/** What is read from octo for as long as somebody looks: its title, its switch, how much came, and why it ended. */
import { Play, Square } from "lucide-react";
import { type ReactNode, useEffect, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import type { LineStream, StreamView } from "@/lib/actors/line-stream";
import { sentence } from "@/lib/sentence";
import { Button } from "@/ui/Button";

interface Props<View extends StreamView> {
  /** Of the elements that tests look for. */
  name: string;
  title: string;
  start: string;
  /** What it would show, while it is off. */
  lead: string;
  broken: string;
  /** While it runs and nothing has come. */
  quiet: string;
  stream: LineStream<unknown, View>;
  counts: (view: View) => string;
  received: (view: View) => number;
  children: (view: View) => ReactNode;
}

export function LiveSection<View extends StreamView>(props: Props<View>) {
  const { name, title, stream } = props;
  const { t } = useTranslation();
  const view = useSyncExternalStore(stream.subscribe, stream.snapshot);
  useEffect(() => () => stream.stop(), [stream]);
  const running = view.status === "running" || view.status === "starting";

  return (
    <section aria-label={title} data-testid={name} data-status={view.status}>
      <div className="flex items-center gap-3">
        <h3 className="flex-1 text-sm font-semibold">{title}</h3>
        <Button
          className="h-8"
          data-testid={`${name}-toggle`}
          onClick={() => (running ? stream.stop() : stream.start())}
        >
          {running ? <Square size={13} /> : <Play size={13} />}
          {running ? t("actors.stream.stop") : props.start}
        </Button>
      </div>
      <p className="mt-1 text-xs text-faint tabular-nums" data-testid={`${name}-counts`}>
        {view.status === "off" ? props.lead : props.counts(view)}
      </p>
      {(view.error || view.broken) && (
        <p role="alert" className="mt-2 rounded-lg bg-warn-wash px-3 py-2 text-sm text-warn">
          {view.error ? sentence(view.error) : props.broken}
        </p>
      )}
      {running && props.received(view) === 0 && <p className="mt-2 text-sm text-faint">{props.quiet}</p>}
      {props.children(view)}
    </section>
  );
}
