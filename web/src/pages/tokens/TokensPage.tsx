/** A person's tokens and browsers that are signed in: make one, end one. */
import { Button, Modal, NativeSelect, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { get, send } from "../../api/http";
import type { TokenView } from "../../api/types";
import { Copyable } from "../../parts/Copyable";
import { Empty } from "../../parts/Empty";
import { Panel } from "../../parts/Panel";
import table from "../../parts/Table.module.css";
import { Ago } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import { FINAL } from "../../theme";
import classes from "./TokensPage.module.css";

const DAY_S = 86_400;
const SCOPES = [
  { value: "full", label: "everything you may do" },
  { value: "read", label: "look, change nothing" },
  { value: "node", label: "register nodes, nothing else" },
];
const ENDS = [
  { value: String(90 * DAY_S), label: "in 90 days" },
  { value: String(7 * DAY_S), label: "in 7 days" },
  { value: String(365 * DAY_S), label: "in a year" },
  { value: "", label: "never" },
];

const HEADS = ["Name", "Last used", "May", "Made", "Ends", "End it"] as const;
/** What a phone has no room for. */
const MORE: ReadonlySet<string> = new Set(["May", "Made", "Ends"]);

export function TokensPage() {
  useTitle("Tokens");
  const client = useQueryClient();
  const tokens = useQuery({
    queryKey: ["tokens"],
    queryFn: async ({ signal }) =>
      (await get<{ items?: TokenView[] }>("/tokens", {}, signal)).items ?? [],
  });
  const renew = () => client.invalidateQueries({ queryKey: ["tokens"] });
  return (
    <div className={classes.page}>
      <h1>Tokens</h1>
      <NewToken made={renew} />
      <Panel title="Yours, and those of your nodes">
        {tokens.error ? (
          <Trouble error={tokens.error} />
        ) : tokens.data?.length === 0 ? (
          <Empty text="No token yet." command="fluxhive login" />
        ) : (
          <div className={table.scroll}>
            <table className={table.table}>
              <thead>
                <tr>
                  {HEADS.map((head) => (
                    <th key={head} scope="col" data-more={MORE.has(head) || undefined}>
                      {head}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {(tokens.data ?? []).map((token) => (
                  <TokenRow key={token.id} token={token} ended={renew} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </div>
  );
}

function TokenRow({ token, ended }: { token: TokenView; ended: () => void }) {
  const [asks, setAsks] = useState(false);
  const revoke = useMutation({
    mutationFn: () => send("DELETE", `/tokens/${encodeURIComponent(token.id)}`),
    onSuccess: ended,
  });
  return (
    <tr>
      <th scope="row" className={classes.name}>
        {token.is_session && token.name === "browser" ? "" : token.name}{" "}
        {token.is_session && <span className={classes.kind}>browser</span>}
      </th>
      <td>{token.last_used_at_ms == null ? "never" : <Ago atMs={token.last_used_at_ms} />}</td>
      <td data-more>{SCOPES.find((one) => one.value === token.scope)?.label ?? token.scope}</td>
      <td data-more>
        <Ago atMs={token.created_at_ms} />
      </td>
      <td data-more>
        {token.expires_at_ms == null ? "never" : <Ago atMs={token.expires_at_ms} />}
      </td>
      <td className={classes.end}>
        <Button
          size="compact-xs"
          variant={asks ? "filled" : "default"}
          color={asks ? FINAL : undefined}
          loading={revoke.isPending}
          onBlur={() => setAsks(false)}
          onClick={() => (asks ? revoke.mutate() : setAsks(true))}
        >
          {asks ? "It stops working at once. Revoke" : "Revoke"}
        </Button>
        {revoke.error && <Trouble error={revoke.error} />}
      </td>
    </tr>
  );
}

function NewToken({ made }: { made: () => void }) {
  const create = useMutation({
    mutationFn: (body: object) => send<{ token: string }>("POST", "/tokens", body),
    onSuccess: made,
  });
  const hand = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const ends = String(form.get("ends") ?? "");
    create.mutate({
      name: form.get("name"),
      scope: form.get("scope"),
      ...(ends && { expires_in_s: Number(ends) }),
    });
    event.currentTarget.reset();
  };
  return (
    <Panel title="A new one">
      <form className={classes.form} onSubmit={hand}>
        <TextInput
          name="name"
          size="xs"
          label="What it is for"
          placeholder="notebook on my laptop"
          required
        />
        <NativeSelect name="scope" size="xs" label="It may" data={SCOPES} />
        <NativeSelect name="ends" size="xs" label="It ends" data={ENDS} />
        <Button type="submit" size="xs" loading={create.isPending}>
          Create
        </Button>
      </form>
      {create.error && <Trouble error={create.error} />}
      <Modal
        opened={create.data !== undefined}
        onClose={() => create.reset()}
        title="Your token, shown this once"
        centered
      >
        {create.data && (
          <>
            <Copyable text={create.data.token} />
            <p className={classes.hint}>
              With it: <code>fluxhive login --token -</code>, or set <code>FLOWHIVE_TOKEN</code>.
            </p>
          </>
        )}
      </Modal>
    </Panel>
  );
}
