/** Where a card goes that belongs to something on the page. Pure. */

interface Size {
  width: number;
  height: number;
}

interface Box extends Size {
  left: number;
  top: number;
}

const GAP_PX = 6;
const EDGE_PX = 8;

/** Below it where that fits, else above it; never over an edge of the window. */
export function besides(around: Box, card: Size, room: Size): { left: number; top: number } {
  const left = Math.max(EDGE_PX, Math.min(around.left, room.width - card.width - EDGE_PX));
  const below = around.top + around.height + GAP_PX;
  if (below + card.height + EDGE_PX <= room.height) return { left, top: below };
  return { left, top: Math.max(EDGE_PX, around.top - card.height - GAP_PX) };
}
