/** The corner in which notes are shown. Loaded with the first of them (parts/tell.ts). */
import "@mantine/core/styles/Notification.css";
import "@mantine/notifications/styles.css";
// biome-ignore lint/style/noRestrictedImports: this is where they are shown
import { Notifications, notifications } from "@mantine/notifications";

export const store = notifications;

export default function Notes() {
  return <Notifications position="bottom-right" limit={4} />;
}
