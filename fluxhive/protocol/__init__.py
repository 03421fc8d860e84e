"""What crosses a wire, declared once: agent ↔ server (agent.py, wire.py, link.py), people ↔ server
(rest.py, feed.py). No socket is opened here.
"""
