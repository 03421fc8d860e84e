/** Mantine's part of the look; the palette itself is theme.css. */
import { createTheme, type MantineColorsTuple } from "@mantine/core";

const accent: MantineColorsTuple = [
  "#eef0ff",
  "#dcdefb",
  "#b6baf2",
  "#9aa0ff",
  "#7378e0",
  "#5f65d6",
  "#4c51c6",
  "#4145ae",
  "#373b98",
  "#2d3180",
];

/** Mantine's greys of the dark scheme, in the tint of theme.css. From text to the deepest ground. */
const dark: MantineColorsTuple = [
  "#e8ebee",
  "#c3c9d0",
  "#9ca5b0",
  "#6d7683",
  "#3a414c",
  "#2a303a",
  "#171b21",
  "#13161b",
  "#0f1216",
  "#0c0e11",
];

/** Of a button that does what nobody can take back: white words on it are readable in both schemes. */
export const FINAL = "red.9";

export const theme = createTheme({
  primaryColor: "accent",
  primaryShade: { light: 6, dark: 5 },
  colors: { accent, dark },
  defaultRadius: 6,
  fontFamily: "var(--sans)",
  fontFamilyMonospace: "var(--mono)",
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "20px" },
  headings: { fontWeight: "600" },
  cursorType: "pointer",
  components: {
    Modal: {
      defaultProps: {
        closeButtonProps: { "aria-label": "Close" },
        // A page has one banner, and it is not a dialog's heading.
        attributes: { header: { role: "none" } },
      },
    },
    // The focus goes to the first item, and not to an empty place before it that no menu may have.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
  },
});
