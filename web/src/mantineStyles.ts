/** Mantine's variables as theme.ts sets them, as a style sheet: the build asks for it (mantine.ts), the
 * page takes it as `virtual:mantine.css`. Only what differs from Mantine's own sheet of them. Pure;
 * it never runs in a page.
 */
import {
  convertCssVariables,
  DEFAULT_THEME,
  defaultCssVariablesResolver,
  mergeMantineTheme,
} from "@mantine/core";
import { theme } from "./theme";

type Variables = Record<string, string>;

export function mantineStyles(): string {
  const ours = defaultCssVariablesResolver(mergeMantineTheme(DEFAULT_THEME, theme));
  const known = defaultCssVariablesResolver(DEFAULT_THEME);
  return convertCssVariables({
    variables: different(ours.variables, known.variables),
    light: different(ours.light, known.light),
    dark: different(ours.dark, known.dark),
  });
}

function different(ours: Variables, known: Variables): Variables {
  return Object.fromEntries(Object.entries(ours).filter(([name, value]) => known[name] !== value));
}
