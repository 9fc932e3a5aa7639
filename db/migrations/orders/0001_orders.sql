create table products (
  sku text not null,
  name text not null,
  price_amount bigint not null,
  currency text not null,
  stock bigint not null,
  -- All stock ever added: stock + what pending and confirmed orders hold.
  added bigint not null,
  version integer not null,
  -- How many events the product has emitted; orders change the stock without one.
  sequence integer not null,
  constraint products_pkey primary key (sku),
  constraint products_stock_check check (stock >= 0),
  constraint products_price_check check (price_amount > 0)
);

create table orders (
  id uuid not null,
  user_id uuid not null,
  checkout_id uuid,
  status text not null,
  reason text,
  lines json not null,
  total_amount bigint not null,
  currency text not null,
  payment_id uuid,
  version integer not null,
  created_at timestamptz not null,
  confirmed_at timestamptz,
  constraint orders_pkey primary key (id),
  constraint orders_status_check check (status in ('pending', 'confirmed', 'cancelled')),
  constraint orders_confirmed_check check (status <> 'confirmed' or (payment_id is not null and confirmed_at is not null)),
  constraint orders_cancelled_check check ((status = 'cancelled') = (reason is not null))
);

create index orders_user_id_idx on orders (user_id, id);
create index orders_open_idx on orders (id) where status = 'pending';

-- This module's own copy of what it needs to know of users, fed by their events.
create table known_users (
  id uuid not null,
  status text not null,
  version integer not null,
  constraint known_users_pkey primary key (id)
);
