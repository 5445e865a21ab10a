"""Renders what evaluation found: leaderboard.md, the site, figures, advice."""
