-- MACs, in hex, under the key that rests sealed in `meta` as mac_key: a row that something else wrote or altered is refused
-- (rules.authentic, transactions.authentic). NULL: from before; opening the database gives each such row one, once.

ALTER TABLE connections ADD COLUMN mac TEXT;
ALTER TABLE grants ADD COLUMN mac TEXT;
ALTER TABLE caller_keys ADD COLUMN mac TEXT;

-- Each event's is over itself and the one before it. `chain` (a JSON list): number and MAC of the event before the first,
-- of the newest one, and the MAC of these.
ALTER TABLE events ADD COLUMN mac TEXT;
ALTER TABLE connections ADD COLUMN chain TEXT;
