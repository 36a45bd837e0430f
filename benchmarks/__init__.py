"""Programs that measure; each ends with one line of JSON and says at its top how long it takes."""
