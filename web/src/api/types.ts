/** The server's words, as docs/reference/openapi.json describes them (schema.d.ts is made from it). */
export type {
  Alive,
  ArraySpec,
  AttemptUsageView,
  AttemptView,
  BulkResult,
  BulkResults,
  CauseCount,
  Changes,
  CodeListing,
  CodeText,
  ExitFacts,
  GpuProcesses,
  GpuReport,
  GpuView,
  LogEvent,
  LogGapView,
  LogGrown,
  LogHits,
  LogLine,
  LogLines,
  LogStreamView,
  Me,
  MemberCounts,
  NodeHealthView,
  NodePage,
  NodeView,
  Outcome,
  OutcomeKind,
  OutlookView,
  Problem,
  ReadingsChanged,
  ReasonView,
  Remedy,
  Request,
  Reservation,
  Resumed,
  Snapshot,
  Summary,
  SweepVariable,
  TaskChange,
  TaskPage,
  TaskSpec,
  TaskState,
  TaskView,
  TokenView,
  UsagePoint,
} from "./schema";

import type { Alive, Changes, LogGrown, Resumed, Snapshot } from "./schema";

/** What the server says on the dashboard's channel. */
export type LiveMessage =
  | (Snapshot & { type: "snapshot" })
  | (Resumed & { type: "resumed" })
  | (Changes & { type: "changes" })
  | (LogGrown & { type: "log-grown" })
  | (Alive & { type: "alive" });
