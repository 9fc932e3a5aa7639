-- Orders that were cancelled before their start was heard, as when that waits among the dead letters: never to be charged.
create table cancelled_orders (
  order_id uuid not null,
  constraint cancelled_orders_pkey primary key (order_id)
);
