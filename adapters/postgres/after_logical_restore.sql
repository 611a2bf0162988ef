-- To be run once, as a superuser, before any process of ours connects to a database that was restored from a dump or copied by
-- logical replication. Such a database counts its transactions anew, so events of before would sort after those to come: all of
-- them are put before, in the order of their numbers. Sinks get again what they may have missed; cursors that clients hold
-- are void. Sequences must have been carried over.
BEGIN;
LOCK TABLE outbox, relay_positions IN ACCESS EXCLUSIVE MODE;
UPDATE relay_positions AS sink
   SET xid = '2',
       seq = coalesce((SELECT min(event.seq) - 1 FROM outbox AS event WHERE (event.xid, event.seq) > (sink.xid, sink.seq)),
                      (SELECT max(event.seq) FROM outbox AS event),
                      0);
UPDATE outbox SET xid = '2' WHERE xid <> '2';
COMMIT;
