// The same commands by @golevelup/nestjs-rabbitmq: an exchange and a routing key.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AmqpConnection, RabbitMQModule } from '@golevelup/nestjs-rabbitmq';

@Module({
  imports: [
    RabbitMQModule.forRoot({
      uri: process.env.AMQP_URL!,
      connectionInitOptions: { wait: true, timeout: 10_000 },
    }),
  ],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
  const commands = app.get(AmqpConnection);
  const answer = await commands.request({
    exchange: `${process.env.AMQP_PREFIX}stripe.commands`,
    routingKey: 'host.status',
    payload: { hostId: process.argv[2] },
    timeout: 15_000,
  });
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
}

void main();
