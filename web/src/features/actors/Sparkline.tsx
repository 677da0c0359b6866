/** A small line of how much an actor did while one looked. */
import { useEffect, useState } from "react";

/** Samples that are shown: one a look, which comes once a second. */
const MAX_SAMPLES = 60;
const WIDTH = 240;
const HEIGHT = 36;

/** One sample for each look at the actor of this path. */
export function useSamples(path: string, at: number, rate: number | null): number[] {
  const [kept, setKept] = useState<{ path: string; at: number; samples: number[] }>({
    path,
    at: 0,
    samples: [],
  });
  useEffect(() => {
    if (rate === null) return;
    setKept((kept) => {
      if (kept.path !== path) return { path, at, samples: [rate] };
      return kept.at === at ? kept : { path, at, samples: [...kept.samples, rate].slice(-MAX_SAMPLES) };
    });
  }, [path, at, rate]);
  return kept.path === path ? kept.samples : [];
}

export function Sparkline({ samples, label }: { samples: number[]; label: string }) {
  const most = Math.max(1, ...samples);
  const step = WIDTH / (MAX_SAMPLES - 1);
  const from = WIDTH - (samples.length - 1) * step;
  const points = samples.map(
    (sample, n) =>
      `${(from + n * step).toFixed(1)},${(HEIGHT - 2 - (sample / most) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
      className="h-9 min-w-0 flex-1 rounded bg-sunken"
    >
      {points.length > 1 && (
        <polyline
          points={points.join(" ")}
          fill="none"
          stroke="var(--accent)"
          strokeWidth="1.5"
          strokeLinejoin="round"
          vectorEffect="non-scaling-stroke"
        />
      )}
    </svg>
  );
}
