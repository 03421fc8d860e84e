"""Why a connection of an agent was closed (RFC 6455 §7.4; 4000 and up are ours)."""

from __future__ import annotations

GOODBYE = 1000
PROTOCOL = 1002
FORBIDDEN = 1008
RESTART = 1012
REPLACED = 4001
REVOKED = 4002
SILENT = 4003
SLOW = 4004
TURNED = 4005
