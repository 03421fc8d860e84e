/** The few icons, drawn here: sixteen units square, strokes in the colour of the text. */

const PATHS = {
  running: "M5 3.5v9l7-4.5z",
  succeeded: "M3 8.5l3.2 3.2L13 4.8",
  failed: "M4 4l8 8M12 4l-8 8",
  waiting: "M8 4.5V8l2.5 1.5M8 2a6 6 0 100 12A6 6 0 008 2z",
  retrying: "M13 8a5 5 0 11-1.6-3.7M13 2.5v2.8h-2.8",
  stopping: "M4.5 4.5h7v7h-7z",
  held: "M6 4v8M10 4v8",
  adrift:
    "M2.5 2.5l11 11M5 6.5a7 7 0 00-2.5 1.4M8 5.5a7 7 0 015.5 2.4M6.2 9.7A3 3 0 018 9M8 12h.01",
  warning: "M8 2.5l6 11H2zM8 6.5v3M8 11.7h.01",
  search: "M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.3L14 14",
  sun: "M8 5a3 3 0 100 6 3 3 0 000-6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7",
  moon: "M13 9.5A5.5 5.5 0 016.5 3a5.5 5.5 0 106.5 6.5z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  link: "M6.5 9.5l3-3M7 4.5l1.3-1.3a2.8 2.8 0 014 4L11 8.5M9 11.5l-1.3 1.3a2.8 2.8 0 01-4-4L5 7.5",
  download: "M8 2.5v8M4.8 7.5L8 10.7l3.2-3.2M2.5 13.5h11",
  down: "M8 3v10M4 9l4 4 4-4",
  chevron: "M6 3.5L10.5 8 6 12.5",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  user: "M8 2.5a2.7 2.7 0 100 5.4 2.7 2.7 0 000-5.4zM2.8 13.5c.6-2.6 2.6-4 5.2-4s4.6 1.4 5.2 4",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  wrap: "M2.5 4h11M2.5 8h9a2 2 0 010 4H8M9.5 10.5L8 12l1.5 1.5M2.5 12h2.5",
  bell: "M4 11V7.5a4 4 0 018 0V11l1 1.5H3zM6.7 14h2.6",
  key: "M10 2.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7zM7.5 8.5L2.5 13.5M4 12l1.5 1.5M5.8 10.2l1.2 1.2",
  thermometer: "M6.5 9.3V3.5a1.5 1.5 0 013 0v5.8a3 3 0 11-3 0z",
  power: "M9 2L4 9h3.5L7 14l5-7H8.5z",
  leave: "M6.5 2.5h-4v11h4M10.5 5L13.5 8l-3 3M13.5 8H6",
  drain: "M3 3.5h10M5 7.5h6M7 11.5h2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill={name === "running" || name === "stopping" ? "currentColor" : "none"}
      stroke="currentColor"
      strokeWidth={name === "more" ? 2 : 1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
