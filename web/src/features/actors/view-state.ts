/** How a person looks at the actors; kept while the page of the application is open. */
import { create } from "zustand";
import { type Filter, NO_FILTER, type Sort, type SortKey } from "@/lib/actors/lines";

interface ViewState {
  flat: boolean;
  sort: Sort;
  filter: Filter;
  folded: ReadonlySet<string>;
  log: boolean;
  set: (change: Partial<Pick<ViewState, "flat" | "folded" | "log">>) => void;
  narrow: (change: Partial<Filter>) => void;
  sortBy: (by: SortKey) => void;
  fold: (path: string) => void;
}

/** On narrower screens the list of what happened begins folded. */
const WIDE_PX = 768;

/** Names are read upwards; of numbers one wants the largest. */
const UPWARDS: ReadonlySet<SortKey> = new Set(["path", "kind"]);

export const useActorsView = create<ViewState>()((set) => ({
  flat: false,
  sort: { by: "rate", down: true },
  filter: NO_FILTER,
  folded: new Set(),
  log: globalThis.innerWidth >= WIDE_PX,
  set,
  narrow: (change) => set((state) => ({ filter: { ...state.filter, ...change } })),
  sortBy: (by) => set(({ sort }) => ({ sort: { by, down: sort.by === by ? !sort.down : !UPWARDS.has(by) } })),
  fold: (path) =>
    set(({ folded }) => {
      const next = new Set(folded);
      if (!next.delete(path)) next.add(path);
      return { folded: next };
    }),
}));

/** The set with or without a member. */
export function toggled(set: ReadonlySet<string>, member: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(member)) next.add(member);
  return next;
}
