/** What is open on the screen right now; forgotten with the page. */
import { create } from "zustand";
import { sentence } from "@/lib/sentence";

interface UiState {
  drawer: boolean;
  palette: boolean;
  newSession: { cwd?: string } | null;
  toast: { id: number; text: string } | null;
  set: (change: Partial<Omit<UiState, "set">>) => void;
}

export const useUi = create<UiState>()((set) => ({
  drawer: false,
  palette: false,
  newSession: null,
  toast: null,
  set,
}));

let nextToast = 1;

/** Says a sentence in passing: something failed that has no better place on the screen. */
export function say(text: string): void {
  useUi.getState().set({ toast: { id: nextToast++, text } });
}

export function sayError(error: unknown): void {
  say(sentence(error instanceof Error ? error.message : String(error)));
}
