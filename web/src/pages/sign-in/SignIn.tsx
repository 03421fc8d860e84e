/** Signing in: name and password, a token, or a one-time link (`/sign-in#code`). */
import { Button, PasswordInput, SegmentedControl, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { send } from "../../api/http";
import { meQuery } from "../../api/queries";
import type { Me } from "../../api/types";
import hive from "../../hive.svg?inline";
import { Copyable } from "../../parts/Copyable";
import { Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import classes from "./SignIn.module.css";

type Credentials = { username: string; password: string } | { token: string } | { code: string };

export function SignIn() {
  useTitle("Sign in");
  const { next } = useSearch({ from: "/sign-in" });
  const client = useQueryClient();
  const [way, setWay] = useState("password");
  const [error, setError] = useState<unknown>();
  const [isBusy, setIsBusy] = useState(false);
  const code = useRef(window.location.hash.slice(1));

  const enter = async (credentials: Credentials) => {
    setIsBusy(true);
    setError(undefined);
    try {
      client.clear();
      client.setQueryData(meQuery.queryKey, await send<Me>("POST", "/auth/session", credentials));
      // A full load: nothing of an earlier person's page stays in memory.
      window.location.assign(next ?? "/");
    } catch (problem) {
      setError(problem);
      setIsBusy(false);
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: a one-time code is used once
  useEffect(() => {
    if (!code.current) return;
    const once = code.current;
    code.current = "";
    // Out of the address and the history before anything else happens.
    window.history.replaceState(null, "", window.location.pathname + window.location.search);
    void enter({ code: once });
  }, []);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    const credentials =
      way === "token"
        ? { token: text("token") }
        : { username: text("username"), password: String(form.get("password") ?? "") };
    void enter(credentials);
  };
  return (
    <main className={classes.page}>
      <form className={classes.form} onSubmit={submit}>
        <div className={classes.brand}>
          <img src={hive} alt="" width={28} height={28} />
          <h1>FlowHive</h1>
        </div>
        <SegmentedControl
          fullWidth
          size="xs"
          value={way}
          onChange={setWay}
          data={[
            { value: "password", label: "Password" },
            { value: "token", label: "Token" },
          ]}
        />
        {way === "password" ? (
          <>
            <TextInput name="username" label="Name" autoComplete="username" required autoFocus />
            <PasswordInput
              name="password"
              label="Password"
              autoComplete="current-password"
              required
            />
          </>
        ) : (
          <PasswordInput name="token" label="Token" autoComplete="off" required autoFocus />
        )}
        <Button type="submit" loading={isBusy}>
          Sign in
        </Button>
        {error !== undefined && <Trouble error={error} />}
        <p className={classes.hint}>
          No password yet? Whoever runs this server adds you with
          <Copyable text="fluxhive user add NAME" /> and gives you the link that it prints. A token:
          <Copyable text="fluxhive token create" />
        </p>
      </form>
    </main>
  );
}
