"""From a claimed intent to a fill: quote, sign, journal, send, confirm."""
