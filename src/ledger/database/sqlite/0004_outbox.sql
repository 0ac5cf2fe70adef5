-- The effects of a dispatch are found by the unique index, and are few.
DROP INDEX outbox_order;
