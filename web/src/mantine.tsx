/** What Mantine's components need around them, for all pages.
 *
 * Its own provider reckons its variables and writes them into the page at each start; here they are
 * in the style sheet already (mantineStyles.ts).
 */
import {
  localStorageColorSchemeManager,
  MantineContext,
  MantineThemeProvider,
  useProviderColorScheme,
} from "@mantine/core";
import { type ReactNode, useMemo } from "react";
import { theme } from "./theme";

const manager = localStorageColorSchemeManager();
const getRootElement = () => document.documentElement;

interface Props {
  /** With it alone styles are allowed that a component makes. */
  nonce: string;
  children: ReactNode;
}

export function Mantine({ nonce, children }: Props) {
  const scheme = useProviderColorScheme({
    manager,
    defaultColorScheme: "auto",
    getRootElement,
    forceColorScheme: undefined,
  });
  const { colorScheme, setColorScheme, clearColorScheme } = scheme;
  const value = useMemo(
    () => ({
      colorScheme,
      setColorScheme,
      clearColorScheme,
      getRootElement,
      classNamesPrefix: "mantine",
      cssVariablesSelector: ":root",
      withStaticClasses: true,
      getStyleNonce: () => nonce,
    }),
    [colorScheme, setColorScheme, clearColorScheme, nonce],
  );
  return (
    <MantineContext value={value}>
      <MantineThemeProvider theme={theme}>{children}</MantineThemeProvider>
    </MantineContext>
  );
}
