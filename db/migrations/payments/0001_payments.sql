create table payments (
  id uuid not null,
  order_id uuid not null,
  user_id uuid not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  token text not null,
  -- The provider's own id of the charge.
  charge_id text,
  -- The money is to go back: at once when it was captured, or as soon as it turns out that it was.
  refund_asked boolean not null default false,
  version integer not null,
  created_at timestamptz not null,
  captured_at timestamptz,
  refunded_at timestamptz,
  constraint payments_pkey primary key (id),
  constraint payments_order_id_key unique (order_id),
  constraint payments_status_check check (status in ('pending', 'captured', 'declined', 'refunded')),
  constraint payments_captured_check check ((status in ('captured', 'refunded')) = (captured_at is not null))
);

create index payments_captured_at_idx on payments (captured_at);
create index payments_refunded_at_idx on payments (refunded_at);
create index payments_open_idx on payments (id) where status = 'pending';
