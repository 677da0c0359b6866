/** The lines of the list: the tree with what is folded away, or all actors in some order. Pure. */
import type { Actor, ActorTable } from "./table";
import { mailboxFill, type Trouble, troubleOf } from "./trouble";

export interface Filter {
  text: string;
  /** None: all of them. */
  states: ReadonlySet<string>;
  kinds: ReadonlySet<string>;
  onlyWrong: boolean;
}

export const NO_FILTER: Filter = { text: "", states: new Set(), kinds: new Set(), onlyWrong: false };

export function isFiltering(filter: Filter): boolean {
  return filter.text.trim() !== "" || filter.states.size > 0 || filter.kinds.size > 0 || filter.onlyWrong;
}

export interface Line {
  path: string;
  /** The last part of the path in the tree, the whole path in the flat list. */
  name: string;
  /** Null for a branch that is no actor, as `sessions` below a user. */
  actor: Actor | null;
  /** 1 at the top. */
  level: number;
  /** Null for one with nothing below it. */
  open: boolean | null;
  /** Actors below it, and how many of those are in trouble. */
  below: number;
  wrongBelow: number;
  trouble: Trouble;
  /** Its place among its siblings, from 1, and how many they are. */
  place: number;
  siblings: number;
}

export type SortKey = "path" | "kind" | "state" | "mailbox" | "rate" | "restarts" | "age" | "error";

export interface Sort {
  by: SortKey;
  down: boolean;
}

interface Node {
  path: string;
  name: string;
  children: Map<string, Node>;
}

const collator = new Intl.Collator("en", { numeric: true });

/** The tree of paths; made anew only when an actor came or went. */
export class Shape {
  private root: Node = { path: "/", name: "/", children: new Map() };
  private shape = -1;

  of(table: ActorTable): Node {
    if (table.shape === this.shape) return this.root;
    this.shape = table.shape;
    this.root = { path: "/", name: "/", children: new Map() };
    for (const path of [...table.actors.keys()].sort(collator.compare)) {
      let node = this.root;
      let at = 0;
      while (at < path.length) {
        const end = path.indexOf("/", at + 1);
        const to = end < 0 ? path.length : end;
        const name = path.slice(at + 1, to);
        let child = node.children.get(name);
        if (!child) {
          child = { path: path.slice(0, to), name, children: new Map() };
          node.children.set(name, child);
        }
        node = child;
        at = to;
      }
    }
    return this.root;
  }
}

/** The tree. While something is looked for, what leads to it is open. */
export function treeLines(
  table: ActorTable,
  shape: Shape,
  filter: Filter,
  folded: ReadonlySet<string>,
  now: number,
): Line[] {
  const filtering = isFiltering(filter);
  const matches = matcher(filter, now);
  const lines: Line[] = [];

  /** Adds the lines of a node and all below it; undoes that when nothing of it is looked for. */
  const visit = (
    node: Node,
    level: number,
    shown: boolean,
  ): { actors: number; wrong: number; hit: boolean } => {
    const actor = table.actors.get(node.path) ?? null;
    const trouble = actor && troubleOf(actor.row, now);
    const line: Line = {
      path: node.path,
      name: node.name,
      actor,
      level,
      open: node.children.size === 0 ? null : filtering || !folded.has(node.path),
      below: 0,
      wrongBelow: 0,
      trouble,
      place: 0,
      siblings: 0,
    };
    const from = lines.length;
    if (shown) lines.push(line);
    let hit = actor !== null && matches(actor);
    const children = below(node, level, shown && line.open === true);
    line.below = children.actors;
    line.wrongBelow = children.wrong;
    hit ||= children.hit;
    if (!hit) lines.length = from;
    return {
      actors: children.actors + (actor ? 1 : 0),
      wrong: children.wrong + (trouble ? 1 : 0),
      hit,
    };
  };

  const below = (node: Node, level: number, shown: boolean) => {
    const sum = { actors: 0, wrong: 0, hit: false };
    const places: Line[] = [];
    for (const child of node.children.values()) {
      const at = lines.length;
      const of = visit(child, level + 1, shown);
      sum.actors += of.actors;
      sum.wrong += of.wrong;
      sum.hit ||= of.hit;
      const line = lines[at];
      if (line) places.push(line);
    }
    for (const [n, line] of places.entries()) {
      line.place = n + 1;
      line.siblings = places.length;
    }
    return sum;
  };

  // What leads to a user's own part is no branch of anything.
  let top = shape.of(table);
  for (;;) {
    const [only] = top.children.values();
    if (top.children.size !== 1 || !only || table.actors.has(only.path)) break;
    top = only;
  }
  below(top, 0, true);
  return lines;
}

/** All actors that are looked for, in order. */
export function flatLines(table: ActorTable, filter: Filter, sort: Sort, now: number): Line[] {
  const matches = matcher(filter, now);
  const found = [...table.actors.values()].filter(matches);
  const order = comparer(table, sort.by);
  found.sort((a, b) => (sort.down ? order(b, a) : order(a, b)) || compare(a.row.path, b.row.path));
  return found.map((actor, n) => ({
    path: actor.row.path,
    name: actor.row.path,
    actor,
    level: 1,
    open: null,
    below: 0,
    wrongBelow: 0,
    trouble: troubleOf(actor.row, now),
    place: n + 1,
    siblings: found.length,
  }));
}

function matcher(filter: Filter, now: number): (actor: Actor) => boolean {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  return ({ row }) => {
    if (filter.states.size > 0 && !filter.states.has(row.state)) return false;
    if (filter.kinds.size > 0 && !filter.kinds.has(row.kind)) return false;
    if (filter.onlyWrong && troubleOf(row, now) === null) return false;
    if (words.length === 0) return true;
    const text = `${row.path} ${row.kind} ${row.state} ${row.last_error ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

/** The worst first, when states are sorted downwards. */
const SEVERITY = ["running", "stopped", "starting", "stopping", "restarting", "stuck", "degraded"];

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function comparer(table: ActorTable, by: SortKey): (a: Actor, b: Actor) => number {
  switch (by) {
    case "path":
      return (a, b) => collator.compare(a.row.path, b.row.path);
    case "kind":
      return (a, b) => compare(a.row.kind, b.row.kind);
    case "state":
      return (a, b) => SEVERITY.indexOf(a.row.state) - SEVERITY.indexOf(b.row.state);
    case "mailbox":
      return (a, b) => mailboxFill(a.row) - mailboxFill(b.row) || a.row.mailbox - b.row.mailbox;
    case "rate":
      return (a, b) => (table.rate(a) ?? 0) - (table.rate(b) ?? 0);
    case "restarts":
      return (a, b) => a.row.restarts - b.row.restarts;
    case "age":
      return (a, b) => b.row.started_at - a.row.started_at;
    case "error":
      return (a, b) => compare(a.row.last_error ?? "", b.row.last_error ?? "");
  }
}

export interface Summary {
  total: number;
  bad: number;
  warn: number;
  states: Map<string, number>;
  kinds: Map<string, number>;
  /** Messages a second, all together. */
  rate: number;
}

export function summarise(table: ActorTable, now: number): Summary {
  const summary: Summary = { total: 0, bad: 0, warn: 0, states: new Map(), kinds: new Map(), rate: 0 };
  for (const actor of table.actors.values()) {
    const { row } = actor;
    const trouble = troubleOf(row, now);
    summary.total += 1;
    if (trouble) summary[trouble] += 1;
    summary.states.set(row.state, (summary.states.get(row.state) ?? 0) + 1);
    summary.kinds.set(row.kind, (summary.kinds.get(row.kind) ?? 0) + 1);
    summary.rate += table.rate(actor) ?? 0;
  }
  return summary;
}
