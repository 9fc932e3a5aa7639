create table users (
  id uuid not null,
  name text,
  email text,
  -- The email in the one form that must be unique.
  email_key text,
  password_hash text,
  role text not null,
  status text not null,
  version integer not null,
  created_at timestamptz not null,
  constraint users_pkey primary key (id),
  constraint users_email_key unique (email_key),
  constraint users_role_check check (role in ('customer', 'operator')),
  constraint users_status_check check (status in ('active', 'closed')),
  constraint users_closed_check check (
    (status = 'closed') = (name is null) and (status = 'closed') = (email is null)
    and (status = 'closed') = (email_key is null) and (status = 'closed') = (password_hash is null)
  )
);

-- Tokens that were signed out before they expired.
create table sign_outs (
  token_id uuid not null,
  user_id uuid not null,
  expires_at timestamptz not null,
  constraint sign_outs_pkey primary key (token_id)
);

create index sign_outs_expires_at_idx on sign_outs (expires_at);
