/**
 * The wire types under the names the application uses. All of them are generated from the Rust
 * protocol; nothing here adds a shape of its own.
 */
import type { EventFrame } from "@/protocol/EventFrame";
import type { ServerSystem } from "@/protocol/ServerSystem";
import type { SessionState as AgentState } from "@/protocol/SessionState";

export type { ActorRow } from "@/protocol/ActorRow";
export type { ChatSession } from "@/protocol/ChatSession";
export type { ClientSystem } from "@/protocol/ClientSystem";
export type { Cursor } from "@/protocol/Cursor";
export type { DecidedBy } from "@/protocol/DecidedBy";
export type { EventPath } from "@/protocol/EventPath";
export type { Forked } from "@/protocol/Forked";
export type { ForkPoint } from "@/protocol/ForkPoint";
export type { ImageInput } from "@/protocol/ImageInput";
export type { InputKind } from "@/protocol/InputKind";
export type { InputRequest } from "@/protocol/InputRequest";
export type { Inspection } from "@/protocol/Inspection";
export type { LeftOut } from "@/protocol/LeftOut";
export type { Message } from "@/protocol/Message";
export type { MessagePage } from "@/protocol/MessagePage";
export type { Model } from "@/protocol/Model";
export type { Part } from "@/protocol/Part";
export type { PathLine } from "@/protocol/PathLine";
export type { PermissionKind } from "@/protocol/PermissionKind";
export type { PermissionMode } from "@/protocol/PermissionMode";
export type { PermissionOption } from "@/protocol/PermissionOption";
export type { PermissionPolicy } from "@/protocol/PermissionPolicy";
export type { PermissionRule } from "@/protocol/PermissionRule";
export type { Permissions } from "@/protocol/Permissions";
export type { QueuedInput } from "@/protocol/QueuedInput";
export type { RemovalReason } from "@/protocol/RemovalReason";
export type { Removed } from "@/protocol/Removed";
export type { Response } from "@/protocol/Response";
export type { Role } from "@/protocol/Role";
export type { SessionOpened } from "@/protocol/SessionOpened";
export type { SessionStats } from "@/protocol/SessionStats";
export type { SessionStatus } from "@/protocol/SessionStatus";
export type { SessionSummary as ListedSession } from "@/protocol/SessionSummary";
export type { ThinkingLevel } from "@/protocol/ThinkingLevel";
export type { Traced } from "@/protocol/Traced";
export type { TraceLine } from "@/protocol/TraceLine";
export type { Usage } from "@/protocol/Usage";
export type { AgentState };

/** Any event with its envelope. Servers before octo leave `seq`, `epoch` and the snapshot's state out. */
export type SessionEvent = EventFrame;

type Body<E> = E extends unknown
  ? Omit<E, "session_id" | "runner_id" | "ts" | "epoch" | "seq" | "turn_id">
  : never;

/** An event without its envelope. */
export type AgentEvent = Body<EventFrame>;

/** One kind of event. */
export type EventOf<K extends EventFrame["event"]> = Extract<EventFrame, { event: K }>;

/** What is different in the tree of actors. */
export type ActorsFrame = Extract<ServerSystem, { type: "actors" }>;
