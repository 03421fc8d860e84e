/** Light or dark, notifications, tokens, and the way out. Opened by coming into being. */
import { Menu, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { send } from "../api/http";
import type { Me } from "../api/types";
import { canNotify, isNotifying, setNotifying } from "../live/notify";
import { Icon } from "../parts/Icon";
import { tell } from "../parts/tell";
import classes from "./Shell.module.css";

export function PersonMenu({ me }: { me: Me }) {
  const client = useQueryClient();
  // The button that was pressed is gone, so that the menu does not know where to return to.
  const target = useRef<HTMLButtonElement>(null);
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme();
  const other = scheme === "dark" ? "light" : "dark";
  const [notifies, setNotifies] = useState(isNotifying);
  const navigate = useNavigate();
  const choose = async () => {
    const isOn = await setNotifying(!notifies);
    setNotifies(isOn);
    if (!notifies && !isOn) {
      tell({
        color: "yellow",
        message:
          "This browser does not allow notifications from this address. Allow them in its settings for this page, then choose this again.",
      });
    }
  };
  const leave = async () => {
    await send("DELETE", "/auth/session");
    client.clear();
    window.location.assign("/sign-in");
  };
  return (
    <Menu position="bottom-end" width={230} defaultOpened onClose={() => target.current?.focus()}>
      <Menu.Target>
        <button
          ref={target}
          type="button"
          className={classes.person}
          aria-label={`${me.username}: menu`}
        >
          <Icon name="user" />
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {me.username}, {me.role}
        </Menu.Label>
        <Menu.Item
          leftSection={<Icon name={other === "dark" ? "moon" : "sun"} />}
          onClick={() => setColorScheme(other)}
        >
          {other === "dark" ? "Dark colours" : "Light colours"}
        </Menu.Item>
        <Menu.Item
          leftSection={<Icon name="bell" />}
          disabled={!canNotify()}
          closeMenuOnClick={false}
          onClick={() => void choose()}
        >
          {!canNotify()
            ? "Notifications need HTTPS"
            : notifies
              ? "Notifying when mine end"
              : "Notify me when mine end"}
        </Menu.Item>
        <Menu.Item
          leftSection={<Icon name="key" />}
          onClick={() => void navigate({ to: "/tokens" })}
        >
          Tokens
        </Menu.Item>
        <Menu.Item leftSection={<Icon name="leave" />} onClick={() => void leave()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
