// What a developer sees who leaves out `noAssert`.
import 'reflect-metadata';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { firstValueFrom, timeout } from 'rxjs';

async function main(): Promise<void> {
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: { urls: [process.env.AMQP_URL!], queue: `${process.env.AMQP_PREFIX}stripe.commands` },
  });
  // It shows by itself as an unhandled rejection: NestJS gives nobody a way to catch it.
  process.on('unhandledRejection', (error) => end(`unhandled: ${error}`));
  const answer = client.send('host.status', { hostId: '1' }).pipe(timeout(5_000));
  await firstValueFrom(answer).then(
    (ok) => end(`answered: ${JSON.stringify(ok)}`),
    (error) => end(`error: ${error?.message ?? JSON.stringify(error)}`),
  );
}

function end(what: string): void {
  process.stdout.write(`${what}\n`, () => process.exit(0));
}

void main();
